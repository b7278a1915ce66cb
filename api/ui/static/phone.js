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
  const count = () => talk().querySelectorAll("li").length;
  let shown = count();
  showNewest();
  document.addEventListener("htmx:after:swap", () => {
    if (count() === shown) return;
    shown = count();
    showNewest();
  });

  const problem = document.getElementById("answer-problem");
  form.addEventListener("htmx:after:request", (event) => {
    const taken = event.detail.ctx.response?.status === 200;
    problem.hidden = taken;
    if (!taken) return;
    form.reset();
    form.elements.form_token.value = crypto.randomUUID(); // the next message is another one
  });
}
