// SPDX-License-Identifier: MIT
//
// Calendar arithmetic of the real-time clock: seconds since 1970 to and from the clock's registers, in the formats that
// register B chooses. Pure functions.
#ifndef DEV_RTC_TIME_H
#define DEV_RTC_TIME_H

#include "base/types.h"

enum { RTC_SECONDS, RTC_SECONDS_ALARM, RTC_MINUTES, RTC_MINUTES_ALARM, RTC_HOURS, RTC_HOURS_ALARM, RTC_WEEKDAY,
	RTC_DAY, RTC_MONTH, RTC_YEAR, RTC_A, RTC_B, RTC_C, RTC_D, RTC_CENTURY = 0x32 };

enum rtc_b { RTC_B_SET = BIT(7), RTC_B_PIE = BIT(6), RTC_B_AIE = BIT(5), RTC_B_UIE = BIT(4), RTC_B_BINARY = BIT(2),
	RTC_B_24H = BIT(1) };

struct rtc_time {
	int year, month, day; // 1970-, 1-12, 1-31
	int hour, minute, second;
	int weekday; // 1 is Sunday
};

struct rtc_time rtc_time_from_seconds(int64_t seconds);
int64_t rtc_time_to_seconds(const struct rtc_time *t);

// A value of 0-99, and an hour, as a register holds it.
uint8_t rtc_encode(unsigned value, uint8_t reg_b);
unsigned rtc_decode(uint8_t reg, uint8_t reg_b);
uint8_t rtc_encode_hour(unsigned hour, uint8_t reg_b);
unsigned rtc_decode_hour(uint8_t reg, uint8_t reg_b);

#endif
