// spark is a small drawing of ranks, the best on top: paths broken where a reading
// did not show the creator, null if none did.
export function spark(ranks, width, height, pad) {
  const seen = ranks.filter((r) => r !== null);
  if (!seen.length) return null;
  const best = Math.min(...seen);
  const worst = Math.max(...seen);
  const room = width - 30; // the figures stand at the right
  const x = (i) => round(pad + (ranks.length < 2 ? 0 : (i / (ranks.length - 1)) * (room - 2 * pad)));
  const y = (r) => round(worst === best ? height / 2 : pad + ((r - best) / (worst - best)) * (height - 2 * pad));
  const paths = [];
  let end = null;
  ranks.forEach((r, i) => {
    if (r === null) return;
    if (i > 0 && ranks[i - 1] !== null) paths[paths.length - 1] += `L${x(i)} ${y(r)}`;
    else paths.push(`M${x(i)} ${y(r)}l0 0`);
    end = [x(i), y(r)];
  });
  return { paths, end, best, worst, from: seen[0], to: seen.at(-1) };
}

const round = (n) => Math.round(n * 10) / 10;
