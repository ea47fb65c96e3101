// Buttons that copy the text beside them: where the browser lets a page do it, over HTTPS or on this machine.
export function copyButtons(within) {
  if (!navigator.clipboard) return;
  for (const button of within.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}
copyButtons(document);
