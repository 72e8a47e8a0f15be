"use strict";
const items = [...document.querySelectorAll(".item")];
const form = document.getElementById("filter");
const [kind, outcome, words] = ["kind", "outcome", "words"].map((name) => form.elements[name]);
const texts = new Map();

const textOf = (item) => {
  if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
  return texts.get(item);
};

const filter = () => {
  const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of items) {
    const fits = (!kind.value || item.dataset.kind === kind.value)
      && (!outcome.value || item.dataset.marks.split("|").includes(outcome.value))
      && wanted.every((word) => textOf(item).includes(word));
    item.hidden = !fits;
    shown += fits;
  }
  for (const group of document.querySelectorAll(".group")) group.hidden = !group.querySelector(".item:not([hidden])");
  document.getElementById("shown").textContent = `${shown} of ${items.length} cases`;
};

// A link to a case, or to a passage of it, opens what it stands in and lifts a filter that hides it.
const follow = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.closest("[hidden]")) {
    form.reset();
    filter();
  }
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  target.scrollIntoView();
};

form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => setTimeout(filter));
document.getElementById("open").addEventListener("click", () => {
  const closed = items.filter((item) => !item.hidden);
  const open = closed.some((item) => !item.open);
  for (const item of closed) item.open = open;
});
addEventListener("hashchange", follow);
filter();
follow();
