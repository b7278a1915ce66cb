// The simulated handset: the newest message stays in sight, and what was sent leaves the input.
const form = document.getElementById("answer");

function talk() {
  return document.getElementById("talk");
}

function showNewest() {
  const list = talk();
  if (list) list.scrollTop = list.scrollHeight;
}

if (form) {
  let shown = talk().childElementCount;
  showNewest();
  document.addEventListener("htmx:after:swap", () => {
    if (talk().childElementCount === shown) return;
    shown = talk().childElementCount;
    showNewest();
  });

  const problem = document.getElementById("answer-problem");
  form.addEventListener("htmx:after:request", (event) => {
    const taken = event.detail.ctx.response?.status === 200;
    problem.hidden = taken;
    if (!taken) return;
    form.reset();
    form.elements.form.value = crypto.randomUUID(); // the next message is another one
  });
}
