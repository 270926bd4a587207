/** Seccomp profiles: Docker's default and custom ones, compiled to classic BPF without any library. */
export { CompiledPrograms } from './programs.ts';
