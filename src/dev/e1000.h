// SPDX-License-Identifier: MIT
//
// Intel's 82540EM, the network card that most systems have a driver for (PCI/PCI-X Family of Gigabit Ethernet
// Controllers Software Developer's Manual): e1000.c has its registers and interrupts, e1000_media.c the EEPROM and the
// PHY, e1000_send.c and e1000_receive.c the rings. Frames go to a network of io/net.h and come from one. They are sent
// while the guest's access to the tail register waits, and received in the event loop.
//
// Not there: interrupt delays (each batch raises its interrupt at once), wake-up, flow control, TBI, and a frame check
// sequence: where the guest wants to see it its four bytes are zero.
#ifndef DEV_E1000_H
#define DEV_E1000_H

#include <pthread.h>

#include "bus/bus.h"
#include "io/net.h"
#include "mem/mem.h"

enum { E1000_SIZE = 0x20000 };
// The registers, where the monitor passes them on: no port of the guest's. One card after the other.
enum { E1000_AT = 0x40000 }; // ORDER E1000: chip/e1000.h, E1000_APP

enum e1000_register {
	E1000_CTRL = 0x00000, E1000_STATUS = 0x00008, E1000_EECD = 0x00010, E1000_EERD = 0x00014, E1000_MDIC = 0x00020,
	E1000_VET = 0x00038, E1000_ICR = 0x000c0, E1000_ICS = 0x000c8, E1000_IMS = 0x000d0, E1000_IMC = 0x000d8,
	E1000_RCTL = 0x00100, E1000_TCTL = 0x00400, E1000_PBA = 0x01000, E1000_RDBAL = 0x02800, E1000_RDBAH = 0x02804,
	E1000_RDLEN = 0x02808, E1000_RDH = 0x02810, E1000_RDT = 0x02818, E1000_TDBAL = 0x03800, E1000_TDBAH = 0x03804,
	E1000_TDLEN = 0x03808, E1000_TDH = 0x03810, E1000_TDT = 0x03818, E1000_STATISTICS = 0x04000, E1000_MPC = 0x04010,
	E1000_GPRC = 0x04074, E1000_BPRC = 0x04078, E1000_MPRC = 0x0407c, E1000_GPTC = 0x04080, E1000_GORCL = 0x04088,
	E1000_GOTCL = 0x04090, E1000_RNBC = 0x040a0, E1000_TORL = 0x040c0, E1000_TOTL = 0x040c8, E1000_TPR = 0x040d0,
	E1000_TPT = 0x040d4, E1000_TSCTC = 0x040f8, E1000_STATISTICS_END = 0x04100, E1000_RXCSUM = 0x05000,
	E1000_MTA = 0x05200, E1000_RA = 0x05400, E1000_VFTA = 0x05600, E1000_TABLES_END = 0x05800,
};
enum { E1000_CTRL_RST = BIT(26), E1000_CTRL_VME = BIT(30), E1000_CTRL_SLU = BIT(6) };
enum { E1000_TXDW = BIT(0), E1000_TXQE = BIT(1), E1000_LSC = BIT(2), E1000_RXDMT0 = BIT(4), E1000_RXO = BIT(6),
	E1000_RXT0 = BIT(7), E1000_MDAC = BIT(9) };
enum { E1000_DESCRIPTOR = 16, E1000_ADDRESSES = 16, E1000_REGISTERS = E1000_TABLES_END / 4, E1000_EEPROM_WORDS = 64,
	E1000_PHY_REGISTERS = 32 };

struct e1000_context { // of a checksum or a segmentation, by the last context descriptor of its kind
	uint8_t ip_start, ip_at, tcp_start, tcp_at, header;
	uint16_t ip_end, tcp_end, mss; // ends: the last byte, 0 is the frame's
	bool ipv4, tcp;
};

struct e1000_sending { // the frame that descriptors are putting together
	uint32_t size;
	uint32_t sent;   // of a segmentation's payload
	uint8_t options; // of its first data descriptor
	bool begun, segments, tagged, too_large;
	bool complete;   // it only waits for the network
	uint16_t tag;
	uint8_t bytes[NET_FRAME_MAX]; // of a segmentation: header and the whole payload
};

struct e1000 {
	struct dev dev;
	const struct mem *mem;
	struct net *net; // or NULL
	struct irq_line irq;
	void (*will_write)(void *opaque, gpa_t gpa, uint64_t size); // before guest RAM is written
	void *opaque;
	uint8_t mac[6];  // in the EEPROM
	pthread_mutex_t lock; // of all that follows
	uint32_t reg[E1000_REGISTERS];
	uint32_t icr, ims;
	bool link;       // the network's
	uint16_t phy[E1000_PHY_REGISTERS], eeprom[E1000_EEPROM_WORDS];
	struct {
		uint16_t in, out; // shift registers
		uint8_t bits;     // that have come in
		bool clock, output;
	} microwire;
	bool blocked;    // the network has no room: it will say when
	struct e1000_context context, segmentation;
	struct e1000_sending sending;
};

extern const struct dev_class e1000_class; // its reset is a card's of its own kind: registers and link

void e1000_attach(struct e1000 *e, struct net *net); // all but this set by the owner before
void e1000_free(struct e1000 *e);

// -- among its parts, with the lock held

static inline uint32_t *e1000_reg(struct e1000 *e, unsigned off)
{
	return &e->reg[off / 4];
}

void e1000_raise(struct e1000 *e, uint32_t causes);
void e1000_count(struct e1000 *e, unsigned off, uint64_t n); // a statistic, which stays at its end
uint8_t *e1000_descriptor(struct e1000 *e, unsigned base, uint32_t i); // in guest memory, or NULL
uint32_t e1000_ring_size(struct e1000 *e, unsigned base); // descriptors
void e1000_written(struct e1000 *e, const void *host, uint64_t size); // in guest memory

void e1000_media_reset(struct e1000 *e);
void e1000_media_link(struct e1000 *e); // to the PHY's registers
uint32_t e1000_read_eecd(const struct e1000 *e);
void e1000_write_eecd(struct e1000 *e, uint32_t value);
void e1000_write_eerd(struct e1000 *e, uint32_t value);
void e1000_write_mdic(struct e1000 *e, uint32_t value);

void e1000_send(struct e1000 *e); // what the ring has
bool e1000_receive(struct e1000 *e, const struct net_frame *f); // false: no room now

#endif
