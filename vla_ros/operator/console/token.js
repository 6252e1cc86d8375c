"use strict";
// By POST: what stands in an address is kept in the browser's history.
document.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = document.getElementById("answer");
  try {
    const opened = await fetch("/token", {
      method: "POST",
      headers: { "content-type": "application/json", "x-vla-console": "1" },
      body: JSON.stringify({ token: document.getElementById("token").value }),
    });
    if (opened.ok) location.replace("/");
    else answer.textContent = (await opened.json()).sentence;
  } catch (error) {
    answer.textContent = `the console does not answer: ${error.message || error}`;
  }
});
