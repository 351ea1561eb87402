// Adds copy buttons; everything else works without.
(() => {
  const copy = (button, text) => {
    const done = (word) => {
      const before = button.textContent;
      button.textContent = word;
      setTimeout(() => { button.textContent = before; }, 1500);
    };
    const byHand = () => {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      done(copied ? "Copied" : "Not copied");
    };
    // A page opened as a file may be refused the clipboard.
    if (navigator.clipboard) {
      navigator.clipboard.writeText(text).then(() => done("Copied"), byHand);
    } else {
      byHand();
    }
  };
  const button = (name, label, text) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.textContent = label;
    made.addEventListener("click", () => copy(made, text));
    return made;
  };
  for (const box of document.querySelectorAll(".copyable")) {
    box.append(button("", "Copy", box.querySelector("pre").textContent));
  }
  for (const csv of document.querySelectorAll("details.csv")) {
    csv.before(button("table-copy", "Copy table as CSV", csv.querySelector("pre").textContent));
  }
})();
