"use strict";
// The page asks, and nothing is pushed to it: the next question is sent when the last answer was drawn.
// All text is set as text, never as HTML: the nodes' sentences may hold what anybody typed.

const STATE_PERIOD_MS = 200; // and at once after a press; where many look, up to
const STATE_PERIOD_MAX_MS = 500;
const IMAGE_PERIOD_MS = 100;
const FEW = 5; // viewers; more of them ask less often each, so that a stop finds no queue
const LOST_AFTER_MS = 1000; // nothing new for so long: nothing on the page is live
const STOP_PERIOD_MS = 200; // while STOP is held
const ARM_WITHIN_MS = 6000; // the second press; the server counts as well
const PLOT_MS = 60000;
const PLOT_PERIOD_MS = 200;

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
// crypto.randomUUID is not there on a page that came by http from another machine
const viewer = Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36)).join("");

let tick = -1; // the newest state's
let heard = -Infinity; // when it came
let version = "";
let refused = ""; // why the server shows nothing
let gateAlive = false;
let ending = ""; // what the console said as it ended: then nothing was lost
let farewell = ""; // what it would have said
let lastState = "";
let plot = []; // [when, requested, emitted]
let plotChannels = "";
let crowd = 1;
let lookNow = () => {};

const name = $("name");
try { name.value = localStorage.getItem("vla_name") || ""; } catch { /* a browser that keeps nothing */ }
name.addEventListener("change", () => {
  try { localStorage.setItem("vla_name", name.value); } catch { /* likewise */ }
});

// -- asking ---------------------------------------------------------------------------
async function ask(path, options = {}) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), options.timeout || 2000);
  try {
    return await fetch(path, { ...options, signal: control.signal, cache: "no-store" });
  } finally {
    clearTimeout(timer);
  }
}

async function press(action, body = {}) {
  const answer = await ask(`/do/${action}?name=${encodeURIComponent(name.value)}`, {
    method: "POST",
    timeout: action === "stop" ? 1500 : 8000,
    priority: "high",
    headers: { "content-type": "application/json", "x-vla-console": "1" },
    body: JSON.stringify({ name: name.value, ...body }),
  });
  lookNow();
  if (answer.headers.get("content-type") !== "application/json") throw new Error(await answer.text());
  return answer.json();
}

function say(sentence, good) {
  $("answer").textContent = sentence;
  $("answer").className = good ? "good" : "bad";
}

// -- stop -----------------------------------------------------------------------------
let holding = null;
let underWay = 0;
let stopProblem = "";

function sendStop() {
  if (underWay >= 3) return; // a server that hangs: more would only queue up in the browser
  underWay += 1;
  press("stop")
    .then((answer) => { stopProblem = answer.done ? "" : answer.sentence; })
    .catch((error) => { stopProblem = String(error.message || error); })
    .finally(() => { underWay -= 1; showAlarm(); });
}

function holdStop() {
  if (holding !== null) return;
  $("stop").classList.add("held");
  sendStop();
  holding = setInterval(sendStop, STOP_PERIOD_MS);
}

function letGo() {
  clearInterval(holding);
  holding = null;
  $("stop").classList.remove("held");
}

const stop = $("stop");
stop.addEventListener("pointerdown", (event) => { event.preventDefault(); stop.focus(); holdStop(); });
for (const end of ["pointerup", "pointercancel", "pointerleave"]) stop.addEventListener(end, letGo);
// Enter on the focused button, and what a screen reader or a switch sends; a pointer's press is sent already
stop.addEventListener("click", (event) => { if (event.detail === 0) sendStop(); });
stop.addEventListener("contextmenu", (event) => event.preventDefault());
window.addEventListener("blur", letGo);

const isText = (element) => element.tagName === "INPUT" || element.tagName === "TEXTAREA";
window.addEventListener("keydown", (event) => {
  const space = event.code === "Space" && !isText(event.target);
  if (space || event.key === "Escape") {
    event.preventDefault(); // space presses no other button, whichever has the focus
    holdStop();
  } else if (event.repeat && event.key === "Enter" && !isText(event.target)) {
    event.preventDefault(); // a key that is held is one press: arming takes two
  } else if (event.key === "/" && !isText(event.target)) {
    event.preventDefault();
    $("text").focus();
  }
}, true);
window.addEventListener("keyup", (event) => {
  if (event.code === "Space" && !isText(event.target)) event.preventDefault();
  if (event.code === "Space" || event.key === "Escape") letGo();
}, true);

// -- the other buttons ------------------------------------------------------------------
let asked = null; // the button whose first press was answered with a key, for the second

function notSure() {
  if (asked === null) return;
  clearTimeout(asked.timer);
  asked.button.textContent = asked.label;
  asked.button.classList.remove("sure");
  asked = null;
}

function tooLate() {
  say(`${asked.label} was not pressed again: nothing was done`, false);
  notSure();
}

async function doIt(button) {
  const action = button.dataset.do;
  try {
    const answer = await press(action, asked && asked.button === button ? { key: asked.key } : {});
    notSure();
    if (answer.key) {
      const label = button.textContent;
      asked = { button, label, key: answer.key, timer: setTimeout(tooLate, ARM_WITHIN_MS) };
      button.textContent = `press again to ${label}`;
      button.classList.add("sure");
      say(answer.sentence, true);
    } else {
      say(answer.sentence, answer.done);
    }
  } catch (error) {
    notSure();
    say(`${action} was not done: ${error.message || error}`, false);
  }
}
for (const button of document.querySelectorAll("button[data-do]")) {
  button.addEventListener("click", () => doIt(button));
}

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value;
  $("text").blur(); // at once: from here on the space bar stops again
  try {
    const answer = await press("say", { text });
    say(answer.done ? "" : answer.sentence, answer.done);
    if (answer.done) $("text").value = "";
  } catch (error) {
    say(`the words were not sent: ${error.message || error}`, false);
  }
});
$("note").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await press("note", { text: $("remark").value });
    say(answer.sentence, answer.done);
    if (answer.done) $("remark").value = "";
  } catch (error) {
    say(`the note was not sent: ${error.message || error}`, false);
  }
});

// -- showing ----------------------------------------------------------------------------
function element(kind, text, className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  made.className = className;
  return made;
}

function rows(place, all) {
  $(place).replaceChildren(...all.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  }));
}

const clock = (when) => new Date(when * 1000).toLocaleTimeString();
const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function live() {
  return performance.now() - heard < LOST_AFTER_MS;
}

function showAlarm() {
  let text = "";
  if (ending) {
    text = ending;
  } else if (!live()) {
    text = refused || `Nothing came from the console for ${Math.round((performance.now() - heard) / 1000) || "some"} s. ` +
      "Nothing here is live, and STOP may not arrive: use the robot's own stop." +
      (farewell ? ` Or this is why: ${farewell}` : "");
  } else if (!gateAlive) {
    text = "The gate is gone: it reports nothing. Nothing here is live; the robot's driver stops it by its own time-out.";
  }
  if (stopProblem) text = `STOP WAS NOT SENT (${stopProblem}): use the robot's own stop! ${text}`;
  $("alarm").hidden = !text;
  if ($("alarm").textContent !== text) $("alarm").textContent = text;
  const stale = !live() || !gateAlive || ending !== "";
  document.body.classList.toggle("stale", stale);
  if (stale) {
    $("badge").textContent = ending ? "ended" : live() ? "gate gone" : "no connection";
    $("driver").textContent = "";
    $("instruction").textContent = "";
  }
}

function showNow(now) {
  const gate = now.gate;
  gateAlive = gate.alive;
  ending = now.ending || "";
  $("release").classList.toggle("away", !now.stop_pressed); // its place stays
  if (!gate.alive) return;
  $("badge").textContent = gate.state;
  $("badge").className = `badge ${gate.state}`;
  if (gate.state !== lastState) {
    lastState = gate.state;
    document.title = `${gate.state} · vla console`;
  }
  $("driver").textContent = gate.activity;
  $("instruction").textContent = now.instruction ? `“${now.instruction}”` : "no instruction";
  $("instruction").title = now.instruction; // the line is cut where it is too long
  $("meaning").textContent = gate.meaning;
  $("reason").textContent = gate.detail;
  $("rule").textContent = gate.holds_when ? `rule ${gate.rule} holds when ${gate.holds_when}` +
    (gate.goes_on_when ? `; it goes on when ${gate.goes_on_when}` : "") : "";
  showBars(gate.channels);
  keepPlot(gate.channels);
}

function showBars(channels) {
  const bars = $("bars");
  while (bars.children.length > channels.length) bars.lastChild.remove();
  while (bars.children.length < channels.length) {
    const bar = element("div", "", "bar");
    const track = element("span", "", "track");
    track.append(element("i", "", "emitted"), element("i", "", "requested"), element("i", "", "zero"));
    bar.append(element("span", ""), track, element("span", "", "number"));
    bars.append(bar);
  }
  channels.forEach((channel, place) => {
    const [label, track, text] = bars.children[place].children;
    label.textContent = channel.name;
    text.textContent = `${number(channel.requested)} → ${number(channel.emitted)} ${channel.unit}`;
    const span = channel.high - channel.low || 1;
    const share = (value) => 100 * Math.min(1, Math.max(0, (value - channel.low) / span));
    const zero = share(0);
    const [emitted, requested, mark] = track.children;
    mark.style.left = `${zero}%`;
    for (const [bar, value] of [[emitted, channel.emitted], [requested, channel.requested]]) {
      bar.hidden = value === null;
      const end = share(value || 0);
      bar.style.left = `${Math.min(zero, end)}%`;
      bar.style.width = `${Math.abs(end - zero)}%`;
    }
  });
}

function showMore(more) {
  $("robot").textContent = more.robot || "robot";
  farewell = more.farewell;
  crowd = Math.max(1, more.viewers.length / FEW);
  $("halt").hidden = !more.halt;
  $("halt").textContent = more.halt ? `halted by the supervisor: ${more.halt}` : "";
  $("sentences").replaceChildren(...more.sentences.map((sentence) => {
    const colour = { doing: "good", done: "good", refused: "bad", stopped: "bad", unanswered: "bad" }[sentence.outcome] || "";
    const line = element("li", `${clock(sentence.when)} “${sentence.text}” `);
    line.append(element("b", sentence.outcome, colour), sentence.step ? ` ${sentence.step}` : "", ` · ${sentence.who}`);
    for (const remark of sentence.remarks) line.append(element("div", remark, "small"));
    return line;
  }));
  rows("nodes", more.nodes.map((node) => [
    element("td", node.healthy ? "●" : "▲", node.healthy ? "good" : "bad"),
    element("td", node.name),
    element("td", node.message && node.message !== node.state ? `${node.state}: ${node.message}` : node.state),
  ]));
  rows("latency", more.latency.map((stage) => [
    element("td", stage.stage), element("td", `p50 ${number(stage.p50, 1)}`, "number"),
    element("td", `p95 ${number(stage.p95, 1)}`, "number"),
  ]));
  rows("cadence", more.cadence.map((rate) => [
    element("td", `${rate.node}: ${rate.what}`), element("td", `${number(rate.hertz, 1)} Hz`, "number"),
  ]));
  const faults = more.faults.map((fault) => element("li",
    `${clock(fault.when)} ${fault.kind}, ${fault.source}: ${fault.text}${fault.count > 1 ? ` (${fault.count} times)` : ""}`));
  $("faults").replaceChildren(...(faults.length ? faults : [element("li", "none since the console was started", "small")]));
  $("remarks").replaceChildren(...more.remarks.map((remark) => element("li", `${clock(remark.when)} ${remark.text}`)));
  $("actions").replaceChildren(...more.actions.map((action) => element("li",
    `${clock(action.when)} ${action.who}: ${action.what}: ${action.answer}`, action.done ? "" : "bad")));
  $("people").textContent = `looking: ${more.viewers.join(", ") || "nobody"}` +
    (more.armed_by ? ` · armed by ${more.armed_by}` : "") + (more.said_by ? ` · last words by ${more.said_by}` : "");
  for (const button of document.querySelectorAll("button[data-do]")) {
    const action = button.dataset.do;
    if (action === "give_back") button.hidden = !more.buttons.includes(action);
  }
  const values = (table) => Object.entries(table || {}).map(([key, value]) => `${key} ${value}`).join(" · ");
  $("recorder").hidden = !more.recorder && !more.buttons.includes("record_start");
  $("recording").textContent = values(more.recorder);
  $("blackbox").hidden = !more.blackbox && !more.buttons.includes("blackbox_write");
  $("flight").textContent = values(more.blackbox);
  showCameras(more.cameras);
}

// -- the last minute ----------------------------------------------------------------------
function keepPlot(channels) {
  const now = performance.now();
  const names = channels.map((channel) => channel.name).join();
  if (names !== plotChannels) plot = [];
  plotChannels = names;
  if (plot.length && now - plot[plot.length - 1][0] < PLOT_PERIOD_MS) return;
  plot.push([now, channels.map((channel) => channel.requested), channels.map((channel) => channel.emitted)]);
  while (now - plot[0][0] > PLOT_MS) plot.shift();
  drawPlot(channels);
}

function drawPlot(channels) {
  const canvas = $("plot");
  const height = 44;
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = width * scale;
  canvas.height = height * channels.length * scale;
  canvas.style.height = `${height * channels.length}px`;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "11px system-ui";
  const now = performance.now();
  channels.forEach((channel, place) => {
    const top = place * height + 2;
    const y = (value) => top + (height - 6) * (1 - (value - channel.low) / (channel.high - channel.low || 1));
    pen.strokeStyle = "#d5d9df";
    pen.strokeRect(0, top, width, height - 6);
    for (const [row, colour, line] of [[1, "#946200", 1], [2, "#2563c9", 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.beginPath();
      let down = false; // a value that is none leaves a gap
      for (const moment of plot) {
        const value = moment[row][place];
        const x = width * (1 - (now - moment[0]) / PLOT_MS);
        if (value === null || value === undefined) down = false;
        else if (down) pen.lineTo(x, y(value));
        else { pen.moveTo(x, y(value)); down = true; }
      }
      pen.stroke();
    }
    pen.lineWidth = 1;
    pen.fillStyle = "#5d6673";
    pen.fillText(`${channel.name}, last minute`, 4, top + 11);
  });
}

async function fetchPlot() {
  const past = await (await ask("/plot")).json();
  if (!past.rows || past.channels.join() !== plotChannels || !plot.length) return;
  const now = performance.now();
  const before = past.rows.map(([age, requested, emitted]) => [now - age * 1000, requested, emitted]);
  plot = [...before.filter((moment) => moment[0] < plot[0][0]), ...plot];
}

// -- cameras --------------------------------------------------------------------------------
const shown = new Set();

function showCameras(cameras) {
  for (const camera of cameras) {
    if (shown.has(camera)) continue;
    shown.add(camera);
    const figure = document.createElement("figure");
    const image = document.createElement("img");
    image.alt = `camera ${camera}`;
    const caption = element("figcaption", camera);
    figure.append(image, caption);
    $("cameras").append(figure);
    watch(camera, figure, image, caption);
  }
}

async function watch(camera, figure, image, caption) {
  let sequence = "";
  let newest = performance.now();
  while (true) {
    const began = performance.now();
    if (live() && !document.hidden) {
      try {
        const path = `/image/${encodeURIComponent(camera)}?viewer=${viewer}&after=${sequence}`;
        const answer = await ask(path);
        if (answer.status === 200) {
          sequence = answer.headers.get("x-sequence");
          const url = URL.createObjectURL(await answer.blob());
          const before = image.src;
          image.src = url;
          await image.decode(); // drawn before the next is asked for
          if (before) URL.revokeObjectURL(before);
          newest = performance.now();
          image.dataset.sequence = sequence;
        }
      } catch { /* the watchdog says it where it lasts */ }
    }
    const age = performance.now() - newest;
    figure.classList.toggle("old", age > LOST_AFTER_MS);
    caption.textContent = age > LOST_AFTER_MS ? `${camera}: no image for ${Math.round(age / 1000)} s` : camera;
    await sleep(Math.max(10, IMAGE_PERIOD_MS * crowd - (performance.now() - began)));
  }
}

// -- the loop ---------------------------------------------------------------------------------
async function look() {
  while (true) {
    const began = performance.now();
    if (!document.hidden) {
      try {
        const answer = await ask(`/state?viewer=${viewer}&more=${version}&name=${encodeURIComponent(name.value)}`);
        if (answer.ok) {
          const { now, more } = await answer.json();
          refused = "";
          if (now.tick !== undefined && now.tick !== tick) {
            tick = now.tick;
            heard = performance.now();
          }
          if (more) showMore(more);
          version = now.version === undefined ? "" : now.version;
          if (now.gate) showNow(now);
        } else {
          const text = await answer.text();
          try { refused = JSON.parse(text).sentence; } catch { refused = text; }
        }
      } catch { /* likewise */ }
      showAlarm();
    }
    const rest = Math.max(10, Math.min(STATE_PERIOD_MAX_MS, STATE_PERIOD_MS * crowd) - (performance.now() - began));
    await Promise.race([sleep(rest), new Promise((wake) => { lookNow = wake; })]);
  }
}

setInterval(showAlarm, 250); // whatever the loop above waits for
look();
setTimeout(() => fetchPlot().catch(() => {}), 1500);
