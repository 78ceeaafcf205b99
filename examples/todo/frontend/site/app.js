// The page: it shows what the API says, and asks again after every change and every few seconds.
"use strict";

const element = (id) => document.getElementById(id);
const REFRESH = 5000;

/** Calls the API; resolves to the answer's JSON, or null when there is none. Rejects with a sentence for people. */
async function call(method, path, body) {
  const response = await fetch(`/api${path}`, {
    method,
    headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined,
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the server answered ${response.status}`);
  return answer;
}

/** Does some work and shows what went wrong with it, if anything did. */
async function attempt(work) {
  const problem = element("problem");
  try {
    await work();
    problem.hidden = true;
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  }
}

/** Builds the line of one task. */
function line(task) {
  const item = element("task").content.firstElementChild.cloneNode(true);
  const box = item.querySelector("input");
  item.classList.toggle("done", task.done);
  item.querySelector("span").textContent = task.title;
  box.checked = task.done;
  box.addEventListener("change", () => change("PATCH", `/tasks/${task.id}`, { done: box.checked }));
  item.querySelector("button").addEventListener("click", () => change("DELETE", `/tasks/${task.id}`));
  return item;
}

/** Shows the list. */
function show(tasks) {
  const open = tasks.filter((task) => !task.done).length;
  element("tasks").replaceChildren(...tasks.map(line));
  element("empty").hidden = tasks.length > 0;
  element("summary").textContent = tasks.length ? `${open} open, ${tasks.length - open} done` : "";
}

async function refresh() {
  show(await call("GET", "/tasks"));
  element("events").textContent = (await call("GET", "/events/count")).total;
}

/** Sends one change and shows its result. */
const change = (method, path, body) => attempt(async () => {
  await call(method, path, body);
  await refresh();
});

element("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const title = element("title").value;
  element("new").reset();
  change("POST", "/tasks", { title });
});

element("suggest").addEventListener("click", () => attempt(async () => {
  const button = element("suggest");
  button.disabled = true;
  try {
    const { steps } = await call("POST", "/suggestions", { title: element("title").value });
    for (const title of steps) await call("POST", "/tasks", { title });
    element("new").reset();
    await refresh();
  } finally {
    button.disabled = false;
  }
}));

attempt(async () => {
  element("suggest").hidden = !(await call("GET", "/features")).suggestions;
});
attempt(refresh);
setInterval(() => document.hidden || attempt(refresh), REFRESH);
