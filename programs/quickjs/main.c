/* Evaluates a script with a global `print`, runs its pending jobs, prints an uncaught exception and ends with 1. */
#include "quickjs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static JSValue print(JSContext *context, JSValueConst self, int argc, JSValueConst *argv) {
  (void)self;
  for (int i = 0; i < argc; i++) {
    const char *text = JS_ToCString(context, argv[i]);
    if (!text) return JS_EXCEPTION;
    printf("%s%s", i ? " " : "", text);
    JS_FreeCString(context, text);
  }
  putchar('\n');
  return JS_UNDEFINED;
}

static void report(JSContext *context) {
  JSValue exception = JS_GetException(context);
  const char *text = JS_ToCString(context, exception);
  printf("uncaught: %s\n", text ? text : "?");
  JS_FreeCString(context, text);
  JS_FreeValue(context, exception);
}

int main(int argc, char **argv) {
  static char script[1 << 20];
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!file) {
    fprintf(stderr, "usage: %s SCRIPT\n", argv[0]);
    return 2;
  }
  size_t size = fread(script, 1, sizeof script - 1, file);
  fclose(file);
  JSRuntime *runtime = JS_NewRuntime();
  JSContext *context = JS_NewContext(runtime);
  JSValue global = JS_GetGlobalObject(context);
  JS_SetPropertyStr(context, global, "print", JS_NewCFunction(context, print, "print", 1));
  JS_FreeValue(context, global);
  JSValue value = JS_Eval(context, script, size, "script.js", JS_EVAL_TYPE_GLOBAL);
  int bad = JS_IsException(value);
  if (bad) report(context);
  JS_FreeValue(context, value);
  JSContext *of_job;
  for (int more; (more = JS_ExecutePendingJob(runtime, &of_job)) != 0;) {
    if (more < 0) {
      report(of_job);
      bad = 1;
    }
  }
  JS_FreeContext(context);
  JS_FreeRuntime(runtime);
  return bad;
}
