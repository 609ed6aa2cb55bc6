// How far people agree, in a few lines: everyone, this person with themselves, and with reference ratings.
function figure(found) {
  if (found.value === null) return "undefined";
  const interval = found.interval ? ` (${found.interval.map((v) => v.toFixed(2)).join(" to ")})` : "";
  return found.value.toFixed(2) + interval;
}
function line(label, value, found) {
  const row = document.createElement("p"), bold = document.createElement("b");
  bold.textContent = value;
  const few = found.few ? ", too few to tell" : "";
  row.append(`${label} `, bold, ` \u00b7 ${found.clips} clip${found.clips === 1 ? "" : "s"}${few}`);
  return row;
}
function plain(text) { const row = document.createElement("p"); row.textContent = text; return row; }

export function agreementLines(measured, who) {
  const rows = [];
  if (measured.alpha.clips) {
    rows.push(line("everyone, Krippendorff's \u03b1", figure(measured.alpha), measured.alpha));
    rows.push(line("everyone, weighted \u03ba", figure(measured.kappa), measured.kappa));
    const mine = measured.pairs.filter((pair) => pair.raters.includes(who)).slice(0, 3);
    for (const pair of mine) rows.push(line(`you and ${pair.raters.find((name) => name !== who)}, weighted \u03ba`, figure(pair.kappa), pair.kappa));
  } else rows.push(plain("no clip was rated by several people yet"));
  const own = measured.own[who], gold = measured.gold[who];
  if (own) rows.push(line("you, shown again: within one", `${Math.round(100 * own.close.value)} %`, own.close));
  if (gold) rows.push(line("you and the reference: within one", `${Math.round(100 * gold.close.value)} %`, gold.close));
  return rows;
}
