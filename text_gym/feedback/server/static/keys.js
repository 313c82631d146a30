// Keys for what the page can do without them. An element with data-key="1" is clicked by that key;
// in fieldsets with data-digits a digit chooses a step, in one after the other.
"use strict";

document.documentElement.classList.add("has-keys");

const isWriting = (target) =>
  target.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");

function chooseStep(digit) {
  const groups = [...document.querySelectorAll("fieldset[data-digits]")];
  const focused = document.activeElement.closest("fieldset[data-digits]");
  const group = focused ?? groups.find((one) => !one.querySelector(":checked"));
  const step = group?.querySelector(`input[value="${digit}"]`);
  if (!step) return false;
  step.checked = true;
  const next = groups.find((one) => !one.querySelector(":checked"));
  (next?.querySelector("input") ?? document.querySelector("[data-key=Enter]") ?? step).focus();
  return true;
}

function moveAlong(event) {
  const buttons = [...document.querySelectorAll(".answers button")];
  const at = buttons.indexOf(document.activeElement);
  if (at < 0) return false;
  const step = event.key === "ArrowRight" ? 1 : -1;
  buttons[(at + step + buttons.length) % buttons.length].focus();
  return true;
}

function act(event) {
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") return moveAlong(event);
  // Links and buttons know by themselves what Enter does; elsewhere it sends, if that is all there is.
  if (event.key === "Enter" && event.target.matches("a, button, summary")) return false;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (target) target.click();
  return Boolean(target) || key === "Enter" || (/^[0-9]$/.test(key) && chooseStep(key));
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.isComposing) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    // Where Enter alone begins a new line.
    document.querySelector("[data-key=Enter]")?.click();
  } else if (event.ctrlKey || event.altKey || event.metaKey) {
    return;
  } else if (isWriting(event.target)) {
    if (event.key === "Escape") event.target.blur();
  } else if (act(event)) {
    event.preventDefault();
  }
});
