/** A schedule as `crontab(5)` writes it: the values each field may have. */
export interface CronSchedule {
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Both day fields are restricted: either one is enough. */
  readonly anyDay: boolean;
}

const macros: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
};
const monthNames = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const minuteMs = 60_000;
/** A schedule that names no moment within this is for a day that never comes, such as February 31. */
const horizonMs = 5 * 366 * 24 * 60 * minuteMs;

/** @throws {RangeError} that quotes the field which does not parse. */
export function parseCron(text: string): CronSchedule {
  const fields = (macros[text.trim().toLowerCase()] ?? text.trim()).split(/\s+/);
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = fields;
  if (fields.length !== 5)
    throw new RangeError(`cannot read schedule "${text}": want 5 fields, minute hour day month weekday`);
  const weekdays = parseField(weekday, 0, 7, dayNames);
  if (weekdays.has(7)) weekdays.add(0);
  return {
    minutes: parseField(minute, 0, 59),
    hours: parseField(hour, 0, 23),
    days: parseField(day, 1, 31),
    months: parseField(month, 1, 12, monthNames, 1),
    weekdays,
    anyDay: !/^[*?]/.test(day) && !/^[*?]/.test(weekday),
  };
}

/**
 * The first moment of the schedule after `fromMs`.
 * @param timeZone an IANA name; UTC unless given.
 * @returns milliseconds since the epoch; undefined when there is none in the next five years.
 * @throws {RangeError} for a time zone that is not known.
 */
export function nextTime(
  schedule: CronSchedule,
  fromMs: number,
  timeZone: string = "UTC",
): number | undefined {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    weekday: "short",
  });
  let at = (Math.floor(fromMs / minuteMs) + 1) * minuteMs;
  while (at <= fromMs + horizonMs) {
    const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]));
    const number = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type) ?? "0");
    const minute = number("minute");
    const weekday = dayNames.indexOf((parts.get("weekday") ?? "").toLowerCase());
    const isDate = schedule.months.has(number("month")) && isDay(schedule, number("day"), weekday);
    const isHour = isDate && schedule.hours.has(number("hour"));
    if (isHour && schedule.minutes.has(minute)) return at;
    // The rest of the hour cannot match either; zones differ by quarters of an hour, so their own minute counts.
    // Over a day that does not match: to its last hour and no further, as a day may have only 23.
    const hours = isDate ? 0 : Math.max(0, 22 - number("hour"));
    at += isHour ? minuteMs : (60 - minute + hours * 60) * minuteMs;
  }
  return undefined;
}

/** The last moment of the schedule that is not after `nowMs`, and whether more than 100 were missed. */
export function missedTime(
  schedule: CronSchedule,
  sinceMs: number,
  nowMs: number,
  timeZone: string | undefined,
): { readonly at: number | undefined; readonly tooMany: boolean } {
  let at: number | undefined;
  let count = 0;
  for (let next = nextTime(schedule, sinceMs, timeZone); next !== undefined && next <= nowMs; ) {
    count += 1;
    const apartMs = at === undefined ? 0 : next - at;
    at = next;
    // Far behind: go on near the end, the moments in between will not be made up for.
    const from = count === 100 ? Math.max(next, nowMs - 2 * apartMs) : next;
    next = nextTime(schedule, from, timeZone);
  }
  return { at, tooMany: count > 100 };
}

function isDay(schedule: CronSchedule, day: number, weekday: number): boolean {
  const [isDate, isWeekday] = [schedule.days.has(day), schedule.weekdays.has(weekday)];
  return schedule.anyDay ? isDate || isWeekday : isDate && isWeekday;
}

function parseField(
  text: string,
  least: number,
  most: number,
  names: readonly string[] = [],
  firstName: number = 0,
): Set<number> {
  const bad = (): RangeError =>
    new RangeError(
      `cannot read schedule field "${text}": want numbers from ${least} to ${most}, as in "*/5" or "1-3,7"`,
    );
  const value = (word: string): number => {
    const name = names.indexOf(word.toLowerCase());
    const number = name >= 0 ? name + firstName : /^\d+$/.test(word) ? Number(word) : Number.NaN;
    if (!(number >= least && number <= most)) throw bad();
    return number;
  };
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [, range = "", step] = /^([^/]+)(?:\/(\d+))?$/.exec(part) ?? [];
    const [from = "", to] = range.split("-");
    const isAll = range === "*" || range === "?";
    const first = isAll ? least : value(from);
    const last = isAll ? most : to === undefined ? (step === undefined ? first : most) : value(to);
    const by = step === undefined ? 1 : Number(step);
    if (by === 0 || first > last) throw bad();
    for (let number = first; number <= last; number += by) values.add(number);
  }
  return values;
}
