// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * popcorn-agent: the first process of a secondary kernel (rdinit=/popcorn-agent), from the
 *initramfs that popcornd appends to the user's initrd.
 *
 * It loads the modules listed in /popcorn/modules, tells the primary that user space is up, and
 * then either hands over to the init of the kernel's root (see root.c) or the initrd's own /init, and stays
 * behind as one small process that waits for what the primary asks for; or, when there is neither, is the
 * init of a shell on the console. The primary asks by the doorbell (a shutdown), and by messages (see messages.c).
 *
 *	/popcorn/modules	one module per line, in order: FILE [PARAMETERS]; FILE is relative
 *				to /popcorn; empty lines and lines that start with # are skipped
 *	/popcorn/config		what the kernel's root and network are: see agent-config.h
 *	/bin/busybox		the shell, when there is neither a root nor /init
 *
 * When a step fails, the step is named in the kernel's log and the agent ends: the kernel then
 * panics, and the primary sees that instead of a kernel that never becomes ready.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent-config.h"
#include "agent.h"
#include "interface.h"
#include "popcorn_guest.h"
#include "root.h"

#define MODULES_FOLDER "/popcorn"
#define INIT "/init"
#define SHELL "/bin/busybox"
#define CONSOLE "/dev/hvc0"

/* How long processes have to end after SIGTERM before they get SIGKILL. */
#define TERM_SECONDS 5
/*
 * How long somebody else's init may take to shut down before we power off over its head, with its
 * data written out. Less than the 90 s after which the primary, by default, would kill us.
 */
#define INIT_SECONDS 75
/* A shell that ended earlier than this is not started again at once. */
#define SHELL_SECONDS 1

static int kmsg_fd = -1;

/* To the kernel's log, which printk also shows on the console. */
static void say(const char *priority, const char *format, va_list arguments)
{
	char line[512];
	int length, more;

	length = snprintf(line, sizeof(line), "%spopcorn-agent: ", priority);
	more = vsnprintf(line + length, sizeof(line) - length, format, arguments);
	if (more < 0)
		return;
	length += more;
	if (length >= (int)sizeof(line))
		length = sizeof(line) - 1;
	/* One write is one record. Without the log there is only the console, if even that. */
	if (kmsg_fd < 0 || write(kmsg_fd, line, length) < 0)
		dprintf(STDERR_FILENO, "%s\n", line + strlen(priority));
}

void warn(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("<4>", format, arguments);
	va_end(arguments);
}

void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say("<3>", format, arguments);
	va_end(arguments);
	exit(EXIT_FAILURE);
}

/* What the agent mounted for itself; an init of the initrd expects to find none of it. */
static struct {
	const char *type, *target;
	unsigned long flags;
	bool done;
} mounts[] = {
	{ "devtmpfs", "/dev", MS_NOSUID, false },
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, false },
};

#define N_MOUNTS (sizeof(mounts) / sizeof(mounts[0]))

static void mount_all(void)
{
	for (size_t i = 0; i < N_MOUNTS; i++) {
		(void)mkdir(mounts[i].target, 0755);
		if (!mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags, NULL))
			mounts[i].done = true;
		else if (errno != EBUSY) /* there already (CONFIG_DEVTMPFS_MOUNT) */
			fail("mount %s on %s: %m", mounts[i].type, mounts[i].target);
		if (i == 0)
			kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	}
}

/* Lazily: the descriptors that the waiting process keeps go on working. */
static void unmount_all(void)
{
	for (size_t i = N_MOUNTS; i-- > 0;)
		if (mounts[i].done && umount2(mounts[i].target, MNT_DETACH) < 0)
			warn("unmount %s: %m", mounts[i].target);
}

static void load_module(const char *file, const char *parameters)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), MODULES_FOLDER "/%s", file) >= (int)sizeof(path))
		fail("load module: name too long");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fail("load module %s: open: %m", path);
	if (syscall(SYS_finit_module, fd, parameters, 0) < 0 && errno != EEXIST) {
		if (errno == ENODEV && !strcmp(file, "popcorn_guest.ko"))
			fail("load module %s: not started by Popcorn (no ACPI table PCRN)", path);
		fail("load module %s: %m (the lines above may say why)", path);
	}
}

static void load_modules(void)
{
	static const char list[] = MODULES_FOLDER "/modules";
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	ssize_t length;
	FILE *file;

	file = fopen(list, "re");
	if (!file)
		fail("open %s: %m", list);
	while ((length = getline(&line, &room, file)) >= 0) {
		char *name, *parameters = line;

		if (length && line[length - 1] == '\n')
			line[length - 1] = '\0';
		name = strsep(&parameters, " \t");
		if (*name && *name != '#')
			load_module(name, parameters ? parameters : "");
	}
	if (ferror(file))
		fail("read %s: %m", list);
	fclose(file);
}

/* The kernel could not open a console for us: the driver of ours is loaded only now. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0) {
		warn("open /dev/console: %m");
		fd = open("/dev/null", O_RDWR | O_NOCTTY);
		if (fd < 0)
			return;
	}
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

/* For whoever opens terminals here, the sessions first: an init of the initrd has its own. */
static void mount_terminals(void)
{
	static const char folder[] = "/dev/pts";

	(void)mkdir(folder, 0755);
	if (mount("devpts", folder, "devpts", MS_NOSUID | MS_NOEXEC, NULL) < 0 && errno != EBUSY)
		warn("mount %s: %m", folder);
}

static void raise_loopback(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		warn("raise loopback interface: %m");
}

/* Without the file, as popcornd always writes one, the initramfs is all that there is. */
static void read_config(struct agent_config *ret)
{
	static char text[AGENT_CONFIG_MAX + 1];
	_cleanup_close_ int fd = open(AGENT_CONFIG_FILE, O_RDONLY | O_CLOEXEC);
	unsigned line = 0;
	size_t size = 0;
	ssize_t n = 0;
	int r;

	agent_config_init(ret);
	if (fd < 0 && errno == ENOENT)
		return;
	while (fd >= 0 && size < sizeof(text) &&
	       (n = read(fd, text + size, sizeof(text) - size)) > 0)
		size += (size_t)n;
	if (fd < 0 || n < 0)
		fail("read " AGENT_CONFIG_FILE ": %m");
	r = agent_config_parse(text, size, ret, &line);
	if (r == -EBADMSG)
		fail("line %u of " AGENT_CONFIG_FILE " is not what this agent knows", line);
	if (r < 0)
		fail(AGENT_CONFIG_FILE " is too large");
}

/* Without it the kernel comes up, and says so: it can be asked by its console. */
static void start_interface(const struct agent_config *config, char ret_name[IF_NAMESIZE])
{
	int r;

	*ret_name = '\0';
	if (!config->network.wanted)
		return;
	r = interface_start(&config->network, ret_name);
	if (r < 0) {
		errno = -r;
		warn("set up the network interface: %m");
	}
}

static void say_ready(int guest)
{
	struct popcorn_guest_ready ready = { .size = sizeof(ready) };

	if (ioctl(guest, POPCORN_GUEST_IOC_READY, &ready) < 0)
		fail("tell the primary that user space is up: %m");
}

static void greet(const struct popcorn_guest_info *info)
{
	struct utsname name;

	if (uname(&name) < 0)
		return;
	dprintf(STDOUT_FILENO, "Popcorn kernel %s (id %u): Linux %s, %u CPU%s\n", info->name,
		info->id, name.release, info->nr_cpus, info->nr_cpus == 1 ? "" : "s");
}

/*
 * Until @end, or until one of @fds has something to say. Who asks meanwhile hears that the shutdown is under way:
 * the primary asks by the doorbell first, so its message may come now. The first of @fds is ours to fill in.
 */
static int poll_ending(struct messages *messages, struct pollfd *fds, size_t n, int64_t end)
{
	for (;;) {
		int ready;

		fds[0] = (struct pollfd){ .fd = messages_get_fd(messages), .events = POLLIN };
		ready = poll(fds, n, remaining_ms(end));
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0 || !fds[0].revents)
			return ready;
		messages_receive(messages);
		if (ready > 1 || !remaining_ms(end))
			return ready - 1;
	}
}

/*
 * Ends all other processes but PID 1: SIGTERM, then SIGKILL to those that are left after a while.
 * By their descriptors, because not all of them are our children.
 */
static void end_processes(struct messages *messages)
{
	int proc = messages->proc;
	_cleanup_closedir_ DIR *dir = NULL;
	_cleanup_free_ struct pollfd *fds = malloc(sizeof(*fds));
	size_t n = 1, left;
	struct dirent *entry;
	int64_t end;
	int fd;

	fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && fds && (entry = readdir(dir))) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		char path[32], target[8];
		struct pollfd *more;

		if (pid <= 1 || pid == getpid())
			continue;
		/* A kernel thread runs no file, and ends when it likes. */
		snprintf(path, sizeof(path), "%d/exe", pid);
		if (readlinkat(proc, path, target, sizeof(target)) < 0)
			continue;
		fd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (fd < 0)
			continue;
		more = realloc(fds, (n + 1) * sizeof(*fds));
		if (!more) {
			close(fd);
			break;
		}
		fds = more;
		fds[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}

	kill(-1, SIGTERM);
	/* Interactive shells ignore SIGTERM; what is stopped could not even end. */
	kill(-1, SIGHUP);
	kill(-1, SIGCONT);
	left = n - 1;
	end = now_ms() + TERM_SECONDS * 1000;
	while (fds && left && poll_ending(messages, fds, n, end) > 0)
		for (size_t i = 1; i < n; i++)
			if (fds[i].fd >= 0 && fds[i].revents) {
				close(fds[i].fd);
				fds[i].fd = -1;
				left--;
			}
	kill(-1, SIGKILL);
}

__attribute__((noreturn)) static void end_kernel(struct messages *messages, int how)
{
	messages->ending = true;
	end_processes(messages);
	sync();
	reboot(how);
	fail("reboot: %m");
}

/* What PID 1 is, as far as it matters for asking it to shut down. */

/* By a handler, or blocked, to be read from a descriptor. */
static bool takes_signals(int proc)
{
	const uint64_t wanted = 1ULL << (SIGINT - 1) | 1ULL << (SIGUSR1 - 1) |
				1ULL << (SIGUSR2 - 1) | 1ULL << (SIGTERM - 1) |
				1ULL << (SIGPWR - 1);
	uint64_t taken = 0;
	char line[256];
	FILE *file;
	int fd;

	fd = openat(proc, "1/status", O_RDONLY | O_CLOEXEC);
	file = fd < 0 ? NULL : fdopen(fd, "r");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, "SigCgt:", 7) || !strncmp(line, "SigBlk:", 7))
			taken |= strtoull(line + 7, NULL, 16);
	fclose(file);
	return taken & wanted;
}

static void read_link(int proc, const char *path, char *ret, size_t size)
{
	ssize_t length = readlinkat(proc, path, ret, size - 1);

	ret[length < 0 ? 0 : length] = '\0';
}

static void read_first_word(int proc, const char *path, char *ret, size_t size)
{
	_cleanup_close_ int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, ret, size - 1);

	ret[length < 0 ? 0 : length] = '\0';
}

/* In the root that PID 1 has now; ours is the initramfs, which it may have left and emptied. */
static int run_poweroff(int proc)
{
	static const char *const programs[] = { "/sbin/poweroff", "/usr/sbin/poweroff",
						"/bin/poweroff", "/usr/bin/poweroff" };
	int root, status;
	pid_t pid;

	root = openat(proc, "1/root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		if (fchdir(root) < 0 || chroot(".") < 0)
			_exit(127);
		for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
			execl(programs[i], programs[i], (char *)NULL);
		_exit(127);
	}
	close(root);
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ENOENT;
}

/*
 * Somebody else's init runs. Each kind has its own way of being asked; a script that the user has
 * made PID 1 has none, and then the order is ours to make.
 */
__attribute__((noreturn)) static void shut_down(struct messages *messages)
{
	char exe[PATH_MAX], argument[PATH_MAX];
	int64_t end = now_ms() + INIT_SECONDS * 1000;
	int proc = messages->proc;
	struct pollfd fds[1];
	bool asked = false;

	messages->ending = true;

	read_link(proc, "1/exe", exe, sizeof(exe));
	read_first_word(proc, "1/cmdline", argument, sizeof(argument));
	if (!strcmp(base_name(exe), "systemd"))
		asked = !kill(1, SIGRTMIN + 4);
	else if (!strcmp(base_name(exe), "busybox") &&
		 (!strcmp(base_name(argument), "init") || !strcmp(base_name(argument), "linuxrc")))
		asked = !kill(1, SIGUSR2);
	else if (takes_signals(proc))
		asked = !run_poweroff(proc);

	/* It ends with us, and with the kernel. */
	while (asked && remaining_ms(end))
		poll_ending(messages, fds, 1, end);
	if (asked)
		warn("%s did not shut down in %d s", exe, INIT_SECONDS);
	end_kernel(messages, RB_POWER_OFF);
}

static int wait_for_shutdown(int guest)
{
	struct popcorn_guest_event event;
	ssize_t length;

	do {
		length = read(guest, &event, sizeof(event));
		if (length < 0 && errno != EINTR)
			return -errno;
	} while (length != sizeof(event) || event.type != POPCORN_GUEST_EVENT_SHUTDOWN);
	return 0;
}

static int open_child_signal(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		warn("signalfd: %m");
	return fd;
}

/* Until the primary wants the kernel to shut down; sessions are begun and buried meanwhile. */
static void wait_for_requests(int guest, struct messages *messages)
{
	enum { GUEST, MESSAGES, CHILDREN, NR };
	int children = open_child_signal();
	bool wanted = false;

	while (!wanted) {
		struct pollfd fds[NR] = {
			[GUEST] = { .fd = guest, .events = POLLIN },
			[MESSAGES] = { .fd = messages_get_fd(messages), .events = POLLIN },
			[CHILDREN] = { .fd = children, .events = POLLIN },
		};
		struct signalfd_siginfo signal;
		pid_t pid;

		if (poll(fds, NR, -1) < 0 && errno != EINTR)
			fail("poll: %m");
		if (fds[GUEST].revents) {
			int r = wait_for_shutdown(guest);

			if (r < 0) {
				errno = -r;
				fail("wait for a shutdown request: %m");
			}
			wanted = true;
		}
		while (read(children, &signal, sizeof(signal)) > 0)
			;
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
			messages_forget(messages, pid);
		if (fds[MESSAGES].revents)
			wanted |= messages_receive(messages);
	}
	if (children >= 0)
		close(children);
}

/* The process that stays behind when the initrd's init has taken over. */
static void start_waiter(int guest, struct messages *messages, char *argv[])
{
	pid_t pid;

	pid = fork();
	if (pid < 0)
		fail("start the process that waits for a shutdown: %m");
	if (pid > 0)
		return;

	setsid();
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	/* By this systemd knows a process that it must not end when it changes the root. */
	argv[0][0] = '@';
	prctl(PR_SET_NAME, "popcorn-agent");
	/* The console belongs to init. */
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	messages->other_root = true;
	messages->own_name = argv[0];
	wait_for_requests(guest, messages);
	shut_down(messages);
}

static bool is_us(const char *path)
{
	struct stat ours, other;

	return stat("/proc/self/exe", &ours) == 0 && stat(path, &other) == 0 &&
	       ours.st_dev == other.st_dev && ours.st_ino == other.st_ino;
}

static void install_busybox(void)
{
	static const char *const folders[] = { "/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin",
					       "/etc", "/root", "/tmp", "/run" };
	int status;
	pid_t pid;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		(void)mkdir(folders[i], 0755);
	(void)chmod("/tmp", 01777);
	pid = fork();
	if (pid == 0) {
		execl(SHELL, "busybox", "--install", "-s", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		warn("busybox --install failed: only built-in commands can be found");
}

static pid_t start_shell(const char *name)
{
	char prompt[96];
	sigset_t none;
	pid_t pid;
	int fd;

	pid = fork();
	if (pid)
		return pid;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A session of its own, so that the terminal can be its own: Ctrl-C, job control. */
	setsid();
	fd = open(CONSOLE, O_RDWR);
	if (fd >= 0) {
		ioctl(fd, TIOCSCTTY, 1);
		for (int i = 0; i < 3; i++)
			dup2(fd, i);
		if (fd > 2)
			close(fd);
	}
	snprintf(prompt, sizeof(prompt), "%s:\\w# ", name);
	setenv("PS1", prompt, 1);
	setenv("HOME", "/root", 1);
	setenv("PATH", "/sbin:/usr/sbin:/bin:/usr/bin", 1);
	setenv("TERM", "vt220", 0);
	(void)!chdir("/root");
	execl(SHELL, "-sh", (char *)NULL);
	_exit(127);
}

/* Be init: a shell on the console, for ever, until somebody wants the kernel to end. */
__attribute__((noreturn)) static void run_shell(int guest, struct messages *messages,
						const char *name)
{
	enum { SIGNALS, GUEST, MESSAGES, NR };
	struct pollfd fds[NR] = {
		[SIGNALS] = { .events = POLLIN },
		[GUEST] = { .fd = guest, .events = POLLIN },
		[MESSAGES] = { .events = POLLIN },
	};
	int64_t started = 0;
	pid_t shell = 0;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	/* busybox's halt, poweroff and reboot, in this order; SIGINT is Ctrl-Alt-Del. */
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_SETMASK, &set, NULL);
	fds[SIGNALS].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fds[SIGNALS].fd < 0)
		fail("signalfd: %m");

	for (;;) {
		struct signalfd_siginfo signal;
		int timeout = -1;
		pid_t pid;

		if (shell <= 0) {
			timeout = remaining_ms(started + SHELL_SECONDS * 1000);
			if (!started || !timeout) {
				started = now_ms();
				shell = start_shell(name);
				if (shell < 0)
					warn("start a shell: %m");
				timeout = shell < 0 ? SHELL_SECONDS * 1000 : -1;
			}
		}
		fds[MESSAGES].fd = messages_get_fd(messages);
		if (poll(fds, NR, timeout) < 0 && errno != EINTR)
			fail("poll: %m");
		if (fds[GUEST].revents) {
			if (wait_for_shutdown(guest) < 0)
				fds[GUEST].fd = -1;
			else
				end_kernel(messages, RB_POWER_OFF);
		}
		while (read(fds[SIGNALS].fd, &signal, sizeof(signal)) == sizeof(signal)) {
			switch (signal.ssi_signo) {
			case SIGUSR1:
				end_kernel(messages, RB_HALT_SYSTEM);
			case SIGUSR2:
				end_kernel(messages, RB_POWER_OFF);
			case SIGTERM:
			case SIGINT:
				end_kernel(messages, RB_AUTOBOOT);
			default:
				break;
			}
		}
		/* Ours, and the orphans that come to PID 1. */
		while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
			if (pid == shell)
				shell = 0;
			messages_forget(messages, pid);
		}
		if (fds[MESSAGES].revents && messages_receive(messages))
			end_kernel(messages, RB_POWER_OFF);
	}
}

int main(int argc, char *argv[])
{
	static struct agent_config config;
	struct popcorn_guest_info info = { .size = sizeof(info) };
	struct messages messages;
	char interface[IF_NAMESIZE];
	int guest, proc;

	if (getpid() != 1) {
		fprintf(stderr, "popcorn-agent is the first process of a kernel that popcornd "
				"starts; it is of no use otherwise\n");
		return EXIT_FAILURE;
	}

	mount_all();
	read_config(&config);
	load_modules();
	open_console();
	guest = open(POPCORN_GUEST_DEVICE, O_RDWR | O_CLOEXEC);
	if (guest < 0)
		fail("open " POPCORN_GUEST_DEVICE ": %m");
	if (ioctl(guest, POPCORN_GUEST_IOC_INFO, &info) < 0)
		fail("ask " POPCORN_GUEST_DEVICE " who we are: %m");
	if (sethostname(info.name, strnlen(info.name, sizeof(info.name))) < 0)
		warn("set hostname: %m");
	greet(&info);
	/* From before /proc is moved to another root. */
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		fail("open /proc: %m");
	/* Before we are ready: who is told so may ask at once. */
	messages_open(&messages, proc);
	start_interface(&config, interface);

	if (config.root != AGENT_ROOT_INITRAMFS) {
		root_mount(&config, interface);
		raise_loopback();
		start_waiter(guest, &messages, argv);
		say_ready(guest);
		root_start_init(&config, argv);
	}
	if (access(INIT, X_OK) == 0 && !is_us(INIT)) {
		start_waiter(guest, &messages, argv);
		say_ready(guest);
		unmount_all();
		argv[0] = (char[]){ INIT };
		execv(INIT, argv);
		fail("start " INIT ": %m");
	}

	if (access(SHELL, X_OK) < 0)
		fail("nothing to start: no " INIT ", and no " SHELL);
	mount_terminals();
	install_busybox();
	root_name(&config);
	raise_loopback();
	say_ready(guest);
	run_shell(guest, &messages, info.name);
}
