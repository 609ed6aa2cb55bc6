// Requests over HTTP: what the server refuses becomes one sentence.
export const GONE = "The server does not answer.";

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch { throw new Error(GONE); }
  if (answer.ok) return answer;
  const text = await answer.text();
  let said = text;
  try { said = JSON.parse(text).error ?? text; } catch { /* plain text of the guard */ }
  throw Object.assign(new Error(sentence(said)), { status: answer.status });
}
// as a person reads it: what a server says of a request begins small and has no end
export function sentence(text) { return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : "."); }
export async function askJson(path, options) { return (await ask(path, options)).json(); }

export function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), use = document.createElementNS(svg.namespaceURI, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}
