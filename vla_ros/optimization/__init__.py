"""Models in less memory and time. Above the runtime, which never imports it."""
