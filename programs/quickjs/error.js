print("before");
undefinedFunction();
