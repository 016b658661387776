/**
 * Whether an image is one that a credential provider's pattern means, as the kubelet reads them: as many parts of the
 * host's name as the pattern has, each of which may hold `*` and `?`; the same port, or none in both; and a path that
 * begins with the pattern's. @see kubernetes pkg/credentialprovider/keyring.go URLsMatch
 */
export function matchesImage(pattern: string, image: string): boolean {
  const wanted = partsOf(pattern);
  const given = partsOf(image);
  return (
    wanted.port === given.port &&
    wanted.labels.length === given.labels.length &&
    wanted.labels.every((label, place) => matchesLabel(label, given.labels[place] ?? "")) &&
    given.path.startsWith(wanted.path)
  );
}

function partsOf(text: string): {
  readonly labels: readonly string[];
  readonly port: string;
  readonly path: string;
} {
  const bare = text.replace(/^https?:\/\//, "");
  const slash = bare.indexOf("/");
  const host = slash < 0 ? bare : bare.slice(0, slash);
  const [name = "", port = ""] = host.split(":");
  return { labels: name.split("."), port, path: slash < 0 ? "" : bare.slice(slash) };
}

/** Walks both at once and goes back to the last `*` alone, so that no pattern takes long. */
function matchesLabel(pattern: string, label: string): boolean {
  let at = 0;
  let inPattern = 0;
  let star = -1;
  let afterStar = 0;
  while (at < label.length) {
    const wanted = pattern[inPattern];
    if (wanted === "*") {
      star = inPattern;
      inPattern += 1;
      afterStar = at;
    } else if (wanted === "?" || wanted === label[at]) {
      inPattern += 1;
      at += 1;
    } else if (star >= 0) {
      inPattern = star + 1;
      afterStar += 1;
      at = afterStar;
    } else return false;
  }
  return /^\**$/.test(pattern.slice(inPattern));
}
