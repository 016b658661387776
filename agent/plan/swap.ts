/**
 * Why a machine that swaps may not be a node; undefined when it may. Limits of memory do not count what is
 * swapped out, so a Pod could take more than it was given, and slow the others down.
 * @param swapBytes all swap space of the machine.
 */
export function swapFault(failSwapOn: boolean, swapBytes: number): string | undefined {
  if (!failSwapOn || swapBytes === 0) return undefined;
  const megabytes = Math.ceil(swapBytes / 1024 ** 2);
  return `cannot start the node's agent: this machine swaps (${megabytes} MiB); run "swapoff -a", or give --fail-swap-on=false`;
}
