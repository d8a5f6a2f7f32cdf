// SPDX-License-Identifier: GPL-2.0-only
/* The driver of /dev/vtyN: what a process sees of a line. */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <popcorn/compat.h>
#include <popcorn/directory.h>

#include "vty.h"

static struct tty_driver *driver;

/* Of the port */

static popcorn_tty_flag_t carrier_raised(struct tty_port *port)
{
	return line_has_carrier(container_of(port, struct line, port));
}

static void dtr_rts(struct tty_port *port, popcorn_tty_flag_t on)
{
	line_set_dtr(container_of(port, struct line, port), on);
}

static int activate(struct tty_port *port, struct tty_struct *tty)
{
	return line_open(container_of(port, struct line, port));
}

static void shutdown(struct tty_port *port)
{
	line_close(container_of(port, struct line, port));
}

const struct tty_port_operations vty_port_ops = {
	.carrier_raised = carrier_raised,
	.dtr_rts = dtr_rts,
	.activate = activate,
	.shutdown = shutdown,
};

/* Of the terminal */

static int vty_install(struct tty_driver *unused, struct tty_struct *tty)
{
	struct line *line = line_of(tty->index);

	if (!line)
		return -ENODEV;
	tty->driver_data = line;
	return tty_port_install(&line->port, driver, tty);
}

static int vty_open(struct tty_struct *tty, struct file *file)
{
	return tty_port_open(tty->port, tty, file);
}

static void vty_close(struct tty_struct *tty, struct file *file)
{
	tty_port_close(tty->port, tty, file);
}

static void vty_hangup(struct tty_struct *tty)
{
	tty_port_hangup(tty->port);
}

static popcorn_tty_ret_t vty_write(struct tty_struct *tty, const u8 *bytes,
				   popcorn_tty_count_t count)
{
	return line_write(tty->driver_data, bytes, count);
}

static unsigned int vty_write_room(struct tty_struct *tty)
{
	return line_write_room(tty->driver_data);
}

static unsigned int vty_chars_in_buffer(struct tty_struct *tty)
{
	return line_unsent(tty->driver_data);
}

static void vty_flush_buffer(struct tty_struct *tty)
{
	line_discard(tty->driver_data);
}

static void vty_stop(struct tty_struct *tty)
{
	line_set_stopped(tty->driver_data, true);
}

static void vty_start(struct tty_struct *tty)
{
	line_set_stopped(tty->driver_data, false);
}

static void vty_throttle(struct tty_struct *tty)
{
	line_set_throttled(tty->driver_data, true);
}

static void vty_unthrottle(struct tty_struct *tty)
{
	line_set_throttled(tty->driver_data, false);
}

static int vty_tiocmget(struct tty_struct *tty)
{
	struct line *line = tty->driver_data;

	return (READ_ONCE(line->dtr) ? TIOCM_DTR : 0) |
	       (line_has_carrier(line) ? TIOCM_CAR | TIOCM_DSR : 0);
}

static int vty_tiocmset(struct tty_struct *tty, unsigned int set, unsigned int clear)
{
	if (set & TIOCM_DTR)
		line_set_dtr(tty->driver_data, true);
	if (clear & TIOCM_DTR)
		line_set_dtr(tty->driver_data, false);
	return 0;
}

/* Speed 0 hangs up. */
static void vty_set_termios(struct tty_struct *tty, const struct ktermios *old)
{
	bool on = C_BAUD(tty) != B0, was = (old->c_cflag & CBAUD) != B0;

	if (on != was)
		line_set_dtr(tty->driver_data, on);
}

/* /proc/tty/driver/popcorn_vty */
static int vty_proc_show(struct seq_file *to, void *unused)
{
	u32 id;

	for (id = 0; id < POPCORN_MEMBERS_MAX; id++) {
		struct line *line = line_of(id);

		if (line)
			line_show(line, to);
	}
	return 0;
}

static const struct tty_operations vty_ops = {
	.install = vty_install,
	.open = vty_open,
	.close = vty_close,
	.hangup = vty_hangup,
	.write = vty_write,
	.write_room = vty_write_room,
	.chars_in_buffer = vty_chars_in_buffer,
	.flush_buffer = vty_flush_buffer,
	.stop = vty_stop,
	.start = vty_start,
	.throttle = vty_throttle,
	.unthrottle = vty_unthrottle,
	.tiocmget = vty_tiocmget,
	.tiocmset = vty_tiocmset,
	.set_termios = vty_set_termios,
	.proc_show = vty_proc_show,
};

int vty_device_add(struct line *line)
{
	return PTR_ERR_OR_ZERO(tty_port_register_device(&line->port, driver, line->id, NULL));
}

void vty_device_remove(struct line *line)
{
	tty_unregister_device(driver, line->id);
}

int vty_init(void)
{
	int err;

	driver =
		tty_alloc_driver(POPCORN_MEMBERS_MAX, TTY_DRIVER_REAL_RAW | TTY_DRIVER_DYNAMIC_DEV |
							      TTY_DRIVER_RESET_TERMIOS);
	if (IS_ERR(driver))
		return PTR_ERR(driver);
	driver->driver_name = "popcorn_vty";
	driver->name = "vty";
	driver->type = TTY_DRIVER_TYPE_SERIAL;
	driver->subtype = SERIAL_TYPE_NORMAL;
	/* Raw: see docs/terminals.md. */
	driver->init_termios = tty_std_termios;
	driver->init_termios.c_iflag = 0;
	driver->init_termios.c_oflag = 0;
	driver->init_termios.c_lflag = 0;
	tty_set_operations(driver, &vty_ops);
	err = tty_register_driver(driver);
	if (err)
		tty_driver_kref_put(driver);
	return err;
}

void vty_exit(void)
{
	tty_unregister_driver(driver);
	tty_driver_kref_put(driver);
}
