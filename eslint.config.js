// House rules that a tool can hold. The import rule between rooms is in .dependency-cruiser.cjs.
import tseslint from 'typescript-eslint';

// Files that may touch the world carry one of these names; everything else in the deciding rooms is pure (habit 1).
const EDGES = ['loop', 'server', 'client', 'disk', 'socket', 'process'].map((name) => `**/${name}.ts`);

export default tseslint.config(
  {
    ignores: [
      'dist/**',
      'node_modules/**',
      'proto/gen/**',
      'compose/schema/gen/**',
      '**/*.cjs',
      'node-engine/native/build/**',
      'examples/**',
      'eslint.config.js',
    ],
  },
  {
    files: ['**/*.ts'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      'no-restricted-syntax': ['error', { selector: 'ExportDefaultDeclaration', message: 'named exports only' }],
      eqeqeq: 'error',
      'prefer-const': 'error',
      'no-var': 'error',
    },
  },
  {
    files: ['**/*.ts'],
    ignores: ['cli/**', 'test/**', 'bench/**', 'deploy/**', '**/*.test.ts'],
    rules: { 'no-console': 'error' },
  },
  {
    files: ['manager/**/*.ts', 'worker/agent/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'setInterval', 'setImmediate'].map((name) => ({ name, message: 'take a Clock' })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'take a Clock' },
        { object: 'Math', property: 'random', message: 'take a Random' },
        { object: 'performance', property: 'now', message: 'take a Clock' },
      ],
    },
  },
  {
    files: ['compose/**/*.ts'],
    ignores: ['**/*.test.ts', 'compose/read/**', ...EDGES],
    rules: {
      'no-restricted-globals': ['error', 'setTimeout', 'setInterval', 'process', 'fetch'],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now' },
        { object: 'Math', property: 'random' },
      ],
    },
  },
);
