// SPDX-License-Identifier: MIT
//
// Intel 8042 with the firmware of a PS/2 keyboard controller (IBM PS/2 Hardware Interface Technical Reference,
// "Keyboard and Auxiliary Device Controller" and "Keyboards"), as far as software needs it that looks for a keyboard,
// switches A20 or resets the machine. A keyboard is plugged in, as on every PC, and answers its commands - there is
// software that waits for that for ever; its keys are in dev/keys.c. Nothing is plugged into the second port: what is
// sent there is answered at once with a resend and the time-out status; its loop and test say that there is none.
#include "dev/i8042.h"

enum { STATUS_OUT_FULL = BIT(0), STATUS_SYSTEM = BIT(2), STATUS_COMMAND = BIT(3), STATUS_UNLOCKED = BIT(4),
	STATUS_AUX = BIT(5), STATUS_TIMEOUT = BIT(6) };
enum { CTL_IRQ1 = BIT(0), CTL_SYSTEM = BIT(2), CTL_KBD_OFF = BIT(4), CTL_AUX_OFF = BIT(5) };
enum {
	CMD_READ_RAM = 0x20, CMD_WRITE_RAM = 0x60, CMD_AUX_OFF = 0xa7, CMD_AUX_ON = 0xa8, CMD_AUX_TEST = 0xa9,
	CMD_TEST = 0xaa, CMD_KBD_TEST = 0xab, CMD_KBD_OFF = 0xad, CMD_KBD_ON = 0xae, CMD_READ_IN = 0xc0,
	CMD_READ_OUT = 0xd0, CMD_WRITE_OUT = 0xd1, CMD_WRITE_KBD_BUFFER = 0xd2, CMD_WRITE_AUX_BUFFER = 0xd3,
	CMD_WRITE_AUX = 0xd4, CMD_PULSE = 0xf0,
};
enum { OUT_NO_RESET = BIT(0), OUT_A20 = BIT(1), OUT_FIXED = 0xcc };
enum { P92_RESET = BIT(0), P92_A20 = BIT(1) };
enum { TEST_OK = 0x55, PORT_OK = 0x00, PORT_CLOCK_STUCK_HIGH = 0x02, RESEND = 0xfe, IN_UNLOCKED = 0xa0 };
enum { CTL_TRANSLATE = BIT(6) };
enum { KBD_LEDS = 0xed, KBD_ECHO = 0xee, KBD_SET = 0xf0, KBD_IDENTIFY = 0xf2, KBD_RATE = 0xf3, KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5, KBD_DEFAULTS = 0xf6, KBD_KEYS_LAST = 0xfa, KBD_RESET = 0xff, KBD_ACK = 0xfa, KBD_GOOD = 0xaa };

static void kbc_answer(struct i8042 *c, uint8_t value, uint8_t status)
{
	c->out = value;
	c->status = STATUS_OUT_FULL | status;
	irq_set(&c->irq, (c->ram[0] & CTL_IRQ1) && !(status & STATUS_AUX));
}

// -- the keyboard

static void kbd_next(struct i8042 *c)
{
	if (!c->queued || c->status & STATUS_OUT_FULL || c->ram[0] & CTL_KBD_OFF)
		return;
	c->kbd_last = c->queue[0];
	for (unsigned i = 1; i < c->queued; i++)
		c->queue[i - 1] = c->queue[i];
	c->queued--;
	kbc_answer(c, c->kbd_last, 0);
}

static void kbd_say(struct i8042 *c, uint8_t value)
{
	if (c->queued < I8042_QUEUE)
		c->queue[c->queued++] = value;
	kbd_next(c);
}

bool i8042_translates(const struct i8042 *c)
{
	return c->ram[0] & CTL_TRANSLATE;
}

bool i8042_type(struct i8042 *c, const uint8_t *bytes, unsigned n)
{
	if (c->kbd_mute || c->kbd_awaits || c->queued + n > I8042_QUEUE)
		return false;
	for (unsigned i = 0; i < n; i++)
		kbd_say(c, bytes[i]);
	return true;
}

static void kbd_defaults(struct i8042 *c)
{
	c->kbd_mute = false;
	c->kbd_set = 2;
	c->kbd_awaits = 0;
}

static void kbd_parameter(struct i8042 *c, uint8_t command, uint8_t value)
{
	bool asked = command == KBD_SET && !value;

	kbd_say(c, KBD_ACK);
	if (command == KBD_SET && value && value <= 3)
		c->kbd_set = value;
	if (asked)
		kbd_say(c, c->kbd_set);
}

static void kbd_command(struct i8042 *c, uint8_t value)
{
	c->queued = 0;
	switch (value) {
	case KBD_ECHO:
		kbd_say(c, KBD_ECHO);
		break;
	case KBD_LEDS:
	case KBD_SET:
	case KBD_RATE:
		c->kbd_awaits = value;
		kbd_say(c, KBD_ACK);
		break;
	case KBD_IDENTIFY:
		kbd_say(c, KBD_ACK);
		kbd_say(c, 0xab);
		kbd_say(c, c->ram[0] & CTL_TRANSLATE ? 0x41 : 0x83);
		break;
	case KBD_ENABLE ... KBD_KEYS_LAST:
		if (value <= KBD_DEFAULTS && value != KBD_ENABLE)
			kbd_defaults(c);
		if (value <= KBD_DISABLE)
			c->kbd_mute = value == KBD_DISABLE;
		kbd_say(c, KBD_ACK);
		break;
	case RESEND:
		kbd_say(c, c->kbd_last);
		break;
	case KBD_RESET:
		kbd_defaults(c);
		kbd_say(c, KBD_ACK);
		kbd_say(c, KBD_GOOD);
		break;
	default:
		kbd_say(c, RESEND);
		break;
	}
}

static void kbd_write(struct i8042 *c, uint8_t value)
{
	uint8_t command = c->kbd_awaits;

	c->ram[0] &= (uint8_t)~CTL_KBD_OFF; // what is sent to the keyboard switches its port on
	c->kbd_awaits = 0;
	if (command && value < KBD_LEDS) // else a command in a parameter's place
		kbd_parameter(c, command, value);
	else
		kbd_command(c, value);
}

static void kbc_reset_machine(struct i8042 *c)
{
	if (c->reset)
		c->reset(c->opaque);
}

static void kbc_set_out_port(struct i8042 *c, uint8_t value)
{
	bool changed = (value ^ c->out_port) & OUT_A20;

	c->out_port = value | OUT_FIXED | OUT_NO_RESET;
	if (changed && c->a20)
		c->a20(c->opaque, value & OUT_A20);
	if (!(value & OUT_NO_RESET))
		kbc_reset_machine(c);
}

static void kbc_command(struct i8042 *c, uint8_t command)
{
	c->awaits = 0;
	switch (command) {
	case CMD_READ_RAM ... CMD_READ_RAM + I8042_RAM - 1:
		kbc_answer(c, c->ram[command - CMD_READ_RAM], 0);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + I8042_RAM - 1:
	case CMD_WRITE_OUT:
	case CMD_WRITE_KBD_BUFFER:
	case CMD_WRITE_AUX_BUFFER:
	case CMD_WRITE_AUX:
		c->awaits = command;
		break;
	case CMD_AUX_OFF:
		c->ram[0] |= CTL_AUX_OFF;
		break;
	case CMD_AUX_ON:
		c->ram[0] &= ~CTL_AUX_OFF;
		break;
	case CMD_KBD_OFF:
		c->ram[0] |= CTL_KBD_OFF;
		break;
	case CMD_KBD_ON:
		c->ram[0] &= ~CTL_KBD_OFF;
		kbd_next(c);
		break;
	case CMD_AUX_TEST:
		kbc_answer(c, PORT_CLOCK_STUCK_HIGH, 0);
		break;
	case CMD_TEST:
		c->ram[0] |= CTL_SYSTEM;
		kbc_answer(c, TEST_OK, 0);
		break;
	case CMD_KBD_TEST:
		kbc_answer(c, PORT_OK, 0);
		break;
	case CMD_READ_IN:
		kbc_answer(c, IN_UNLOCKED, 0);
		break;
	case CMD_READ_OUT:
		kbc_answer(c, c->out_port, 0);
		break;
	case CMD_PULSE ... 0xff: // the low bits that are 0 are pulsed; the lowest is the reset line
		if (!(command & 1))
			kbc_reset_machine(c);
		break;
	}
}

static void kbc_data(struct i8042 *c, uint8_t value)
{
	uint8_t command = c->awaits;

	c->awaits = 0;
	switch (command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + I8042_RAM - 1:
		c->ram[command - CMD_WRITE_RAM] = value;
		kbd_next(c);
		break;
	case CMD_WRITE_OUT:
		kbc_set_out_port(c, value);
		break;
	case CMD_WRITE_KBD_BUFFER:
	case CMD_WRITE_AUX_BUFFER: // not marked as the second port's: there is none to loop through
		kbc_answer(c, value, 0);
		break;
	case CMD_WRITE_AUX:
		kbc_answer(c, RESEND, STATUS_TIMEOUT | STATUS_AUX);
		break;
	default:
		kbd_write(c, value);
		break;
	}
}

static uint8_t kbc_status(const struct i8042 *c)
{
	return c->status | STATUS_UNLOCKED | (c->ram[0] & CTL_SYSTEM ? STATUS_SYSTEM : 0) |
	       (c->from_command ? STATUS_COMMAND : 0);
}

static uint64_t i8042_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct i8042 *c = (struct i8042 *)d;
	uint8_t value;

	if (range == I8042_RANGE_COMMAND)
		return kbc_status(c);
	if (range == I8042_RANGE_PORT92)
		return c->out_port & OUT_A20 ? P92_A20 : 0;
	c->status &= ~(STATUS_OUT_FULL | STATUS_AUX | STATUS_TIMEOUT);
	irq_set(&c->irq, false);
	value = c->out;
	kbd_next(c);
	return value;
}

static void i8042_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct i8042 *c = (struct i8042 *)d;

	if (range == I8042_RANGE_PORT92) {
		kbc_set_out_port(c, OUT_NO_RESET | (value & P92_A20 ? OUT_A20 : 0));
		if (value & P92_RESET)
			kbc_reset_machine(c);
		return;
	}
	c->from_command = range == I8042_RANGE_COMMAND;
	if (c->from_command)
		kbc_command(c, value);
	else
		kbc_data(c, value);
}

static void i8042_reset(struct dev *d)
{
	struct i8042 *c = (struct i8042 *)d;

	for (unsigned i = 0; i < I8042_RAM; i++)
		c->ram[i] = 0;
	c->ram[0] = CTL_IRQ1 | CTL_SYSTEM; // as firmware leaves it
	c->status = c->out = c->awaits = c->queued = c->kbd_last = 0;
	kbd_defaults(c);
	c->from_command = false;
	c->out_port = OUT_FIXED | OUT_NO_RESET | OUT_A20;
	irq_set(&c->irq, false);
}

const struct dev_class i8042_class = {"i8042", sizeof(struct i8042), 1, NULL, i8042_reset, i8042_read, i8042_write};
