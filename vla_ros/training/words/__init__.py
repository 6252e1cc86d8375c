"""What `vla train words` learns from: text files, and what is made of them."""
