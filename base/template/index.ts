export { compileTemplate } from './evaluate.ts';
export type { CompileOptions } from './evaluate.ts';
export { containerNameFault, expandContainerName } from './container-name.ts';
export { TemplateFault } from './fault.ts';
export { GO_FUNCTIONS } from './functions.ts';
export type { TemplateFunction, TemplateFunctions } from './functions.ts';
export { jsonOf, printed } from './values.ts';
export { EXAMPLE_CONTEXT, expandText, hasTemplate, templateFault } from './task.ts';
export type { TaskContext } from './task.ts';
