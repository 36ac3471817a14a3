//# flags: -Wno-deprecated-declarations
// Masks, sets that are waited for and handlers' masks, full ones in particular: the runtime's own signal shows nowhere,
// and nothing that stands between the program and libc is in the way of cancellation.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <unistd.h>

static sigset_t full, empty;

// Of a large set, what it lacks.
static void print(const char *what, const sigset_t *set) {
  int members = 0;
  for (int number = 1; number < NSIG; number++) members += sigismember(set, number) == 1;
  printf("%s: %d%s", what, members, members > 32 ? ", all but" : ":");
  for (int number = 1; number < NSIG; number++)
    if (sigismember(set, number) == (members <= 32)) printf(" %d", number);
  puts("");
}

static void print_mask(const char *what) {
  sigset_t mask;
  int status = pthread_sigmask(SIG_BLOCK, 0, &mask);
  if (status) printf("error %d\n", status);
  print(what, &mask);
}

static void *thread(void *what) {
  print_mask(what);
  return 0;
}

static void in_thread(const char *what) {
  pthread_t made;
  pthread_create(&made, 0, thread, (void *)what);
  pthread_join(made, 0);
}

static int handled;
static void handler(int number) {
  handled = number;
  print_mask("in the handler");
}

static sigset_t all_but(int number) {
  sigset_t set = full;
  sigdelset(&set, number);
  return set;
}

static void sets(void) {
  sigset_t old;
  memset(&old, 0x55, sizeof old);
  printf("%d\n", sigprocmask(SIG_BLOCK, &full, &old));
  print("before", &old);
  print_mask("full");
  in_thread("inherited");
  printf("%d\n", sigprocmask(SIG_SETMASK, &empty, &old));
  print("old", &old);
  print_mask("empty");
  printf("%d\n", pthread_sigmask(SIG_SETMASK, &full, 0));
  printf("%d\n", pthread_sigmask(SIG_UNBLOCK, &full, &old));
  print("old", &old);
  print_mask("empty");
  printf("%d %d\n", sigprocmask(99, &full, 0) == -1 && errno == EINVAL, pthread_sigmask(99, &full, 0) == EINVAL);
}

static void dispositions(void) {
  struct sigaction action = {.sa_handler = handler, .sa_mask = full}, old;
  // glibc keeps 32 and 33 to itself. Under Kiln the highest one is not the program's either.
  for (int number = 1; number < 64; number++) {
    int set = sigaction(number, &action, 0), asked = sigaction(number, 0, &old);
    if (set || asked || old.sa_handler != handler) printf("%d: %d %d %d\n", number, set, asked, errno);
  }
  print("its mask", &old.sa_mask);
  raise(SIGUSR1);
  print_mask("afterwards");
  printf("%d %d\n", signal(SIGUSR2, SIG_IGN) == handler, sigset(SIGUSR2, SIG_HOLD) == SIG_IGN);
  print_mask("held");
  printf("%d %d %d\n", sigrelse(SIGUSR2), sighold(SIGHUP), sigrelse(SIGHUP));
  printf("%d\n", sigset(SIGUSR2, SIG_DFL) == SIG_IGN);
  printf("%d %d\n", sigignore(SIGUSR2), siginterrupt(SIGUSR1, 1));
  for (int number = 1; number < 64; number++)
    if (number != SIGUSR1) signal(number, SIG_DFL);
}

static void waits(void) {
  siginfo_t info;
  struct timespec soon = {0, 1000000};
  int number = 0;
  sigprocmask(SIG_BLOCK, &full, 0);
  printf("%d\n", sigtimedwait(&full, &info, &soon) == -1 && errno == EAGAIN);
  raise(SIGUSR2);
  printf("%d\n", sigwait(&full, &number) == 0 && number == SIGUSR2);
  raise(SIGRTMIN + 3);
  printf("%d\n", sigwaitinfo(&full, &info) == SIGRTMIN + 3 && info.si_pid == getpid());
  raise(SIGRTMIN + 4);
  printf("%d\n", sigtimedwait(&full, 0, &soon) == SIGRTMIN + 4);
  int descriptor = signalfd(-1, &full, SFD_NONBLOCK | SFD_CLOEXEC);
  struct signalfd_siginfo read_info;
  printf("%d\n", read(descriptor, &read_info, sizeof read_info) == -1 && errno == EAGAIN);
  raise(SIGTERM);
  printf("%d\n", read(descriptor, &read_info, sizeof read_info) == sizeof read_info && read_info.ssi_signo == SIGTERM);
  printf("%d\n", signalfd(descriptor, &empty, 0) == descriptor);
  close(descriptor);
}

// All signals are blocked; each call lets one in.
static void sleeps(void) {
  sigset_t set = all_but(SIGUSR1);
  struct timespec soon = {0, 1000000};
  int epoll = epoll_create1(0);
  struct epoll_event event;
  struct pollfd polled = {epoll, POLLIN, 0};
  raise(SIGUSR1);
  printf("%d\n", sigsuspend(&set) == -1 && errno == EINTR && handled == SIGUSR1);
  raise(SIGUSR1);
  printf("%d\n", ppoll(&polled, 1, 0, &set) == -1 && errno == EINTR);
  raise(SIGUSR1);
  printf("%d\n", pselect(0, 0, 0, 0, 0, &set) == -1 && errno == EINTR);
  raise(SIGUSR1);
  printf("%d\n", epoll_pwait(epoll, &event, 1, -1, &set) == -1 && errno == EINTR);
  printf("%d %d\n", ppoll(&polled, 1, &soon, &full), pselect(0, 0, 0, 0, &soon, &full));
  printf("%d %d\n", epoll_pwait(epoll, &event, 1, 1, &full), epoll_pwait(epoll, &event, 1, 1, 0));
  print_mask("afterwards");
  close(epoll);
}

static void cleanup(void *text) { printf("cleanup %s\n", (char *)text); }

static void *cancelled(void *way) {
  static const char *const NAMES[] = {"sigsuspend", "sigwait", "sigwaitinfo", "sigtimedwait", "ppoll", "pselect",
                                      "epoll_pwait"};
  struct timespec late = {100, 0};
  struct epoll_event event;
  int number, epoll = epoll_create1(0);
  pthread_cleanup_push(cleanup, (void *)NAMES[(long)way]);
  switch ((long)way) {
    case 0: sigsuspend(&full); break;
    case 1: sigwait(&full, &number); break;
    case 2: sigwaitinfo(&full, 0); break;
    case 3: sigtimedwait(&full, 0, &late); break;
    case 4: ppoll(0, 0, &late, &full); break;
    case 5: pselect(0, 0, 0, 0, &late, &full); break;
    default: epoll_pwait(epoll, &event, 1, 100000, &full);
  }
  puts("not cancelled");
  pthread_cleanup_pop(0);
  return way;
}

int main(void) {
  sigfillset(&full);
  sigemptyset(&empty);
  print("filled", &full);
  sets();
  dispositions();
  waits();
  sleeps();
  for (long way = 0; way < 7; way++) {
    pthread_t made;
    void *result;
    pthread_create(&made, 0, cancelled, (void *)way);
    pthread_cancel(made);
    pthread_join(made, &result);
    printf("%d\n", result == PTHREAD_CANCELED);
  }
  return 0;
}
