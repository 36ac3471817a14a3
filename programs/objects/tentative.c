// Built with -fcommon: any other unit might say this, too.
int tentative[4];
int fill_tentative(int x) {
    for (int i = 0; i < 4; i++) tentative[i] = x * i;
    return tentative[3];
}
