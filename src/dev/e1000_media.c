// SPDX-License-Identifier: MIT
//
// See dev/e1000.h: the EEPROM, by its four wires (a 93C46: 64 words) and by the register that reads it, and the PHY, a
// Marvell 88E1011 whose link is up when the network's is, at 1000 Mbit/s, full duplex ("EEPROM Interface", "PHY
// Registers").
#include <string.h>

#include "dev/e1000.h"

enum { EE_CLOCK = BIT(0), EE_SELECT = BIT(1), EE_IN = BIT(2), EE_OUT = BIT(3), EE_WRITE = BIT(4) | BIT(5),
	EE_REQUEST = BIT(6), EE_GRANT = BIT(7), EE_PRESENT = BIT(8) };
enum { COMMAND_BITS = 9, READ = 6 /* start bit, opcode 10 */, ADDRESS_BITS = 6 };
enum { EERD_START = BIT(0), EERD_DONE = BIT(4), EERD_ADDRESS = 8, EERD_DATA = 16 };
enum { MDIC_REGISTER = 16, MDIC_PHY = 21, MDIC_OP = 26, MDIC_READY = BIT(28), MDIC_INTERRUPT = BIT(29) };
#define MDIC_ERROR BIT(30)
enum { OP_WRITE = 1, OP_READ = 2, PHY_ADDRESS = 1 };
enum { PHY_CONTROL = 0, PHY_STATUS = 1, PHY_SPECIFIC = 17, CONTROL_RESET = 0x8000, CONTROL_RESTART = 0x0200,
	STATUS_LINK = 0x0004, STATUS_NEGOTIATED = 0x0020, SPECIFIC_LINK = 0x0400, WORD_SUM = 0xbaba };

static const uint16_t phy_after_reset[E1000_PHY_REGISTERS] = {
	[PHY_CONTROL] = 0x1140, [PHY_STATUS] = 0x7949, [2] = 0x0141, [3] = 0x0c20, [4] = 0x0de1, [5] = 0xcde1, [6] = 0x0001,
	[9] = 0x0e00, [10] = 0x3c00, [15] = 0x3000, [16] = 0x0360, [PHY_SPECIFIC] = 0xa800, [20] = 0x0d60,
};
#define PHY_WRITABLE (BIT(PHY_CONTROL) | BIT(4) | BIT(9) | BIT(16) | BIT(18) | BIT(20) | BIT(24) | BIT(29) | BIT(30))

void e1000_media_link(struct e1000 *e)
{
	uint16_t *status = &e->phy[PHY_STATUS], *specific = &e->phy[PHY_SPECIFIC];

	*status &= (uint16_t)~(STATUS_LINK | STATUS_NEGOTIATED);
	*specific &= (uint16_t)~SPECIFIC_LINK;
	if (!e->link)
		return;
	*status |= STATUS_LINK | STATUS_NEGOTIATED;
	*specific |= SPECIFIC_LINK;
}

static void fill_eeprom(struct e1000 *e)
{
	uint16_t sum = 0;

	memset(e->eeprom, 0, sizeof(e->eeprom));
	for (unsigned i = 0; i < 3; i++)
		e->eeprom[i] = (uint16_t)(e->mac[2 * i] | e->mac[2 * i + 1] << 8);
	e->eeprom[0x08] = e->eeprom[0x09] = 0xffff; // board number: none
	e->eeprom[0x0a] = 0x640a;                   // the identity below is valid
	e->eeprom[0x0b] = 0x1100;                   // subsystem
	e->eeprom[0x0c] = 0x1af4;
	e->eeprom[0x0d] = 0x100e;                   // the device
	e->eeprom[0x0e] = 0x8086;
	e->eeprom[0x0f] = 0x3040;
	for (unsigned i = 0; i < E1000_EEPROM_WORDS - 1; i++)
		sum += e->eeprom[i];
	e->eeprom[E1000_EEPROM_WORDS - 1] = (uint16_t)(WORD_SUM - sum);
}

void e1000_media_reset(struct e1000 *e)
{
	fill_eeprom(e);
	memset(&e->microwire, 0, sizeof(e->microwire));
	memcpy(e->phy, phy_after_reset, sizeof(e->phy));
	e1000_media_link(e);
}

uint32_t e1000_read_eecd(const struct e1000 *e)
{
	uint32_t value = e->reg[E1000_EECD / 4];

	return value | EE_PRESENT | (value & EE_REQUEST ? EE_GRANT : 0) | (e->microwire.output ? EE_OUT : 0);
}

// A rising clock: a bit of the command comes in, or one of the word goes out, behind a zero.
static void clock_in(struct e1000 *e, bool bit)
{
	if (e->microwire.bits == 0 && !bit)
		return; // before the start bit
	if (e->microwire.bits < COMMAND_BITS) {
		e->microwire.in = (uint16_t)(e->microwire.in << 1 | bit);
		e->microwire.bits++;
		e->microwire.output = false;
		if (e->microwire.bits == COMMAND_BITS && e->microwire.in >> ADDRESS_BITS == READ)
			e->microwire.out = e->eeprom[e->microwire.in & (E1000_EEPROM_WORDS - 1)];
		return;
	}
	e->microwire.output = e->microwire.in >> ADDRESS_BITS != READ || e->microwire.out >> 15; // idle: ready
	e->microwire.out = (uint16_t)(e->microwire.out << 1);
	if (++e->microwire.bits == COMMAND_BITS + 16 && e->microwire.in >> ADDRESS_BITS == READ) { // and the next word
		e->microwire.in = (READ << ADDRESS_BITS) | ((e->microwire.in + 1) & (E1000_EEPROM_WORDS - 1));
		e->microwire.out = e->eeprom[e->microwire.in & (E1000_EEPROM_WORDS - 1)];
		e->microwire.bits = COMMAND_BITS;
	}
}

void e1000_write_eecd(struct e1000 *e, uint32_t value)
{
	bool clock = value & EE_CLOCK, was = e->microwire.clock;

	*e1000_reg(e, E1000_EECD) = value & (EE_CLOCK | EE_SELECT | EE_IN | EE_WRITE | EE_REQUEST);
	e->microwire.clock = clock;
	if (!(value & EE_SELECT)) {
		memset(&e->microwire, 0, sizeof(e->microwire));
		e->microwire.output = true;
	} else if (clock && !was && e->microwire.bits < UINT8_MAX)
		clock_in(e, value & EE_IN);
}

void e1000_write_eerd(struct e1000 *e, uint32_t value)
{
	unsigned at = value >> EERD_ADDRESS & 0xff;
	uint32_t word = at < E1000_EEPROM_WORDS ? e->eeprom[at] : 0xffff;

	*e1000_reg(e, E1000_EERD) = at << EERD_ADDRESS;
	if (value & EERD_START)
		*e1000_reg(e, E1000_EERD) |= EERD_DONE | word << EERD_DATA;
}

static void write_phy(struct e1000 *e, unsigned n, uint16_t value)
{
	if (!(PHY_WRITABLE & BIT(n)))
		return;
	if (n == PHY_CONTROL && (value & CONTROL_RESET))
		memcpy(e->phy, phy_after_reset, sizeof(e->phy));
	else
		e->phy[n] = n == PHY_CONTROL ? value & ~(CONTROL_RESET | CONTROL_RESTART) : value;
	e1000_media_link(e);
	if (n == PHY_CONTROL && (value & (CONTROL_RESET | CONTROL_RESTART)))
		e1000_raise(e, E1000_LSC); // what it has agreed on is the same at once
}

void e1000_write_mdic(struct e1000 *e, uint32_t value)
{
	unsigned n = value >> MDIC_REGISTER & (E1000_PHY_REGISTERS - 1), op = value >> MDIC_OP & 3;
	uint32_t result = value & ~(uint32_t)(MDIC_READY | MDIC_ERROR);

	if ((value >> MDIC_PHY & 31) != PHY_ADDRESS || (op != OP_READ && op != OP_WRITE))
		result |= MDIC_ERROR;
	else if (op == OP_READ)
		result = (result & ~(uint32_t)0xffff) | e->phy[n];
	else
		write_phy(e, n, (uint16_t)value);
	*e1000_reg(e, E1000_MDIC) = result | MDIC_READY;
	if (value & MDIC_INTERRUPT)
		e1000_raise(e, E1000_MDAC);
}
