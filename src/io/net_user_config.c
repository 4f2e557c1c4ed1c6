// SPDX-License-Identifier: MIT
//
// -netdev user: its properties. Addresses that are not given are derived from the network's, as QEMU does: host .2,
// name server .3, DHCP from .15.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/net_user.h"

enum { HOST_OF_NET = 2, DNS_OF_NET = 3, DHCP_OF_NET = 15 };

static int wrong(char *err, size_t errlen, const char *key, const char *value, const char *what)
{
	snprintf(err, errlen, "%s=%s: %s", key, value, what);
	return -EINVAL;
}

// "10.0.2.0/24", "10.0.2.0/255.255.255.0"; a network alone is a /24.
static int parse_network(struct net_user_config *u, const char *key, const char *value, char *err, size_t errlen)
{
	char text[64];
	char *slash;
	uint16_t bits = 24;
	uint32_t mask;

	snprintf(text, sizeof(text), "%s", value);
	slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	if (strlen(value) >= sizeof(text) || !inet_aton(text, &u->network))
		return wrong(err, errlen, key, value, "not an IPv4 network; an example is 10.0.2.0/24");
	if (slash && strchr(slash, '.')) {
		if (!inet_aton(slash, &u->mask))
			return wrong(err, errlen, key, value, "not an IPv4 mask");
	} else {
		if (slash && (net_parse_port(slash, 4, &bits) < 0 || bits > 30))
			return wrong(err, errlen, key, value, "the network's length is from 4 to 30 bits");
		u->mask.s_addr = htonl(UINT32_MAX << (32 - bits));
	}
	mask = ntohl(u->mask.s_addr);
	if (!mask || (~mask & (~mask + 1)))
		return wrong(err, errlen, key, value, "not an IPv4 mask");
	u->network.s_addr &= u->mask.s_addr;
	return 0;
}

static int parse_address(struct in_addr *to, const char *key, const char *value, char *err, size_t errlen)
{
	return inet_aton(value, to) ? 0 : wrong(err, errlen, key, value, "not an IPv4 address");
}

// [tcp|udp]:[host address]:port-[guest address]:port
static int parse_forward(struct net_user_config *u, const char *key, const char *value, char *err, size_t errlen)
{
	struct net_forward f = {0};
	char text[256], *host, *host_port, *guest, *guest_port;

	if (u->forwards == NET_FORWARDS_MAX)
		return wrong(err, errlen, key, value, "too many");
	if (strlen(value) >= sizeof(text))
		return wrong(err, errlen, key, value, "too long");
	strcpy(text, value);
	host = strchr(text, ':');
	host_port = host ? strchr(host + 1, ':') : NULL;
	guest = host_port ? strchr(host_port + 1, '-') : NULL;
	guest_port = guest ? strchr(guest + 1, ':') : NULL;
	if (!guest_port)
		return wrong(err, errlen, key, value, "an example is hostfwd=tcp:127.0.0.1:2222-:22");
	*host++ = *host_port++ = *guest++ = *guest_port++ = 0;
	f.udp = !strcmp(text, "udp");
	if (!f.udp && *text && strcmp(text, "tcp"))
		return wrong(err, errlen, key, value, "the protocol is tcp or udp");
	if (*host && !inet_aton(host, &f.host))
		return wrong(err, errlen, key, value, "the host's address is not an IPv4 address");
	if (net_parse_port(host_port, 0, &f.host_port) < 0)
		return wrong(err, errlen, key, value, "the host's port is not a number from 0 to 65535");
	if (*guest && !inet_aton(guest, &f.guest))
		return wrong(err, errlen, key, value, "the guest's address is not an IPv4 address");
	if (net_parse_port(guest_port, 1, &f.guest_port) < 0)
		return wrong(err, errlen, key, value, "the guest's port is not a number from 1 to 65535");
	u->forward[u->forwards++] = f;
	return 0;
}

static int parse_search(struct net_user_config *u, const char *key, const char *value, char *err, size_t errlen)
{
	if (u->searches == NET_SEARCH_MAX)
		return wrong(err, errlen, key, value, "too many");
	return net_parse_text(key, value, u->search[u->searches++], sizeof(u->search[0]), err, errlen);
}

static int user_prop(struct net_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	static const char *const unbuilt[] = {"guestfwd", "smb", "smbserver", "ipv6-net", "ipv6-prefix", "ipv6-prefixlen",
					      "ipv6-host", "ipv6-dns"};
	struct net_user_config *u = &c->user;
	const struct {
		const char *key;
		char *to;
		size_t size;
	} texts[] = {{"hostname", u->hostname, sizeof(u->hostname)}, {"domainname", u->domain, sizeof(u->domain)},
		     {"bootfile", u->bootfile, sizeof(u->bootfile)}, {"tftp", u->tftp, sizeof(u->tftp)},
		     {"tftp-server-name", u->tftp_name, sizeof(u->tftp_name)}};
	const struct {
		const char *key;
		struct in_addr *to;
	} addresses[] = {{"host", &u->host}, {"dns", &u->dns}, {"dhcpstart", &u->dhcp_start}};
	bool on = true;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(key, texts[i].key))
			return net_parse_text(key, value, texts[i].to, texts[i].size, err, errlen);
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++)
		if (!strcmp(key, addresses[i].key))
			return parse_address(addresses[i].to, key, value, err, errlen);
	for (size_t i = 0; i < ARRAY_SIZE(unbuilt); i++)
		if (!strcmp(key, unbuilt[i]))
			return wrong(err, errlen, key, value, "this property is not built yet");
	if (!strcmp(key, "net"))
		return parse_network(u, key, value, err, errlen);
	if (!strcmp(key, "hostfwd"))
		return parse_forward(u, key, value, err, errlen);
	if (!strcmp(key, "dnssearch"))
		return parse_search(u, key, value, err, errlen);
	if (!strcmp(key, "restrict"))
		return net_parse_bool(key, value, &u->restricted, err, errlen);
	if (!strcmp(key, "ipv4") || !strcmp(key, "ipv6")) {
		r = net_parse_bool(key, value, &on, err, errlen);
		*(key[3] == '4' ? &u->no_ipv4 : &u->no_ipv6) = !on;
		return r;
	}
	return -ENOENT;
}

static int derive(const struct net_user_config *u, struct in_addr *a, uint32_t of_net, const char *key, char *err,
		  size_t errlen)
{
	if (!a->s_addr)
		a->s_addr = u->network.s_addr | htonl(of_net);
	if ((a->s_addr & u->mask.s_addr) == u->network.s_addr && (a->s_addr & ~u->mask.s_addr))
		return 0;
	return wrong(err, errlen, key, inet_ntoa(*a), "not an address of the network");
}

static int user_check(struct net_config *c, char *err, size_t errlen)
{
	struct net_user_config *u = &c->user;
	uint32_t hosts;

	if (!u->mask.s_addr) {
		inet_aton("10.0.2.0", &u->network);
		inet_aton("255.255.255.0", &u->mask);
	}
	hosts = ~ntohl(u->mask.s_addr);
	if (derive(u, &u->host, HOST_OF_NET, "host", err, errlen) < 0 ||
	    derive(u, &u->dns, DNS_OF_NET & hosts, "dns", err, errlen) < 0 ||
	    derive(u, &u->dhcp_start, MIN((uint32_t)DHCP_OF_NET, hosts - 1), "dhcpstart", err, errlen) < 0)
		return -EINVAL;
	if (u->host.s_addr == u->dns.s_addr)
		return wrong(err, errlen, "dns", inet_ntoa(u->dns), "this is the host's address");
	if (u->no_ipv4 && u->no_ipv6) {
		snprintf(err, errlen, "ipv4=off,ipv6=off: nothing is left");
		return -EINVAL;
	}
	return 0;
}

const struct net_class net_user_class = {
    .name = "user",
    .size = sizeof(struct net_user),
    .prop = user_prop,
    .check = user_check,
    .open = net_user_open,
    .close = net_user_close,
    .send = net_user_send,
    .flush = net_user_flush,
};
