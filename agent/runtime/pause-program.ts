/** Machine the program is for: `process.arch` of the node. */
export type PauseArchitecture = "x64" | "arm64";

const loadAddress = 0x40_0000;
const codeOffset = 64 + 56;

/**
 * The process of a sandbox, a static ELF program of a few hundred bytes. It
 *  - ignores SIGCHLD, so that the kernel reaps orphans when it is PID 1 of a shared PID namespace;
 *  - blocks TERM and INT and waits for them: a blocked signal reaches PID 1 even without a handler;
 *  - ends with 0.
 * @see linux kernel/signal.c `sig_ignored`, sigtimedwait(2), elf(5).
 */
export function pauseProgram(architecture: PauseArchitecture): Buffer {
  const code = architecture === "x64" ? x64Code() : arm64Code();
  const header = Buffer.alloc(codeOffset);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0], 0);
  header.writeUInt16LE(2, 16); // ET_EXEC
  header.writeUInt16LE(architecture === "x64" ? 62 : 183, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + codeOffset), 24);
  header.writeBigUInt64LE(64n, 32); // program headers follow this one
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  const size = BigInt(codeOffset + code.length);
  header.writeUInt32LE(1, 64); // PT_LOAD
  header.writeUInt32LE(5, 68); // read and execute
  header.writeBigUInt64LE(0n, 72);
  header.writeBigUInt64LE(BigInt(loadAddress), 80);
  header.writeBigUInt64LE(BigInt(loadAddress), 88);
  header.writeBigUInt64LE(size, 96);
  header.writeBigUInt64LE(size, 104);
  header.writeBigUInt64LE(0x1000n, 112);
  return Buffer.concat([header, code]);
}

/** struct sigaction with SIG_IGN (32 bytes), then the set {INT, TERM} (8 bytes). */
function signalData(): Buffer {
  const data = Buffer.alloc(40);
  data.writeBigUInt64LE(1n, 0);
  data.writeBigUInt64LE((1n << 14n) | (1n << 1n), 32);
  return data;
}

function x64Code(): Buffer {
  const actionAt = 85;
  const setAt = actionAt + 32;
  // lea to data: the offset counts from the end of the instruction.
  const lea = (register: number, at: number, target: number): number[] => {
    const offset = Buffer.alloc(4);
    offset.writeInt32LE(target - (at + 7));
    return [0x48, 0x8d, register, ...offset];
  };
  const rsi = 0x35;
  const rdi = 0x3d;
  const bytes = [
    [0xb8, 13, 0, 0, 0], //                     0: mov eax, rt_sigaction
    [0xbf, 17, 0, 0, 0], //                     5: mov edi, SIGCHLD
    lea(rsi, 10, actionAt), //                 10: lea rsi, [action]
    [0x31, 0xd2, 0x41, 0xba, 8, 0, 0, 0], //   17: xor edx, edx; mov r10d, 8
    [0x0f, 0x05], //                           25: syscall
    [0xb8, 14, 0, 0, 0, 0x31, 0xff], //        27: mov eax, rt_sigprocmask; xor edi, edi (SIG_BLOCK)
    lea(rsi, 34, setAt), //                    34: lea rsi, [set]
    [0x31, 0xd2, 0x0f, 0x05], //               41: xor edx, edx; syscall
    [0xb8, 128, 0, 0, 0], //                   45: mov eax, rt_sigtimedwait
    lea(rdi, 50, setAt), //                    50: lea rdi, [set]
    [0x31, 0xf6, 0x31, 0xd2], //               57: xor esi, esi; xor edx, edx
    [0x41, 0xba, 8, 0, 0, 0], //               61: mov r10d, 8
    [0x0f, 0x05], //                           67: syscall
    [0x85, 0xc0, 0x7e, 0x100 - 28], //         69: test eax, eax; jle 45
    [0xb8, 60, 0, 0, 0, 0x31, 0xff], //        73: mov eax, exit; xor edi, edi
    [0x0f, 0x05, 0, 0, 0], //                  80: syscall; padding
  ].flat();
  return Buffer.concat([Buffer.from(bytes), signalData()]);
}

function arm64Code(): Buffer {
  const words = 25;
  const actionAt = words * 4 + 4; // eight-byte aligned
  const setAt = actionAt + 32;
  const mov = (register: number, value: number): number => (0xd280_0000 | (value << 5) | register) >>> 0;
  const adr = (register: number, word: number, target: number): number => {
    const offset = target - word * 4;
    return (0x1000_0000 | ((offset & 3) << 29) | ((offset >> 2) << 5) | register) >>> 0;
  };
  const svc = 0xd400_0001;
  const code = [
    [mov(8, 134), mov(0, 17), adr(1, 2, actionAt), mov(2, 0), mov(3, 8), svc], // rt_sigaction
    [mov(8, 135), mov(0, 0), adr(1, 8, setAt), mov(2, 0), mov(3, 8), svc], // rt_sigprocmask
    [mov(8, 137), adr(0, 13, setAt), mov(1, 0), mov(2, 0), mov(3, 8), svc], // rt_sigtimedwait
    0x7100_001f, // cmp w0, #0
    (0x5400_0000 | ((-7 & 0x7ffff) << 5) | 0xd) >>> 0, // b.le to word 12
    [mov(8, 93), mov(0, 0), svc], // exit
    [0, 0, 0],
  ].flat();
  const bytes = Buffer.alloc(code.length * 4);
  code.forEach((word, index) => bytes.writeUInt32LE(word, index * 4));
  return Buffer.concat([bytes, signalData()]);
}
