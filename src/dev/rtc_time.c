// SPDX-License-Identifier: MIT
//
// Days are counted in the proleptic Gregorian calendar, in years that begin in March, so that the leap day is the last.
#include "dev/rtc_time.h"

enum { SECONDS_PER_DAY = 86400, DAYS_PER_ERA = 146097, DAYS_TO_1970 = 719468 /* from 1 March of year 0 */ };
enum { HOUR_PM = BIT(7) };

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

struct rtc_time rtc_time_from_seconds(int64_t seconds)
{
	int64_t day = floor_div(seconds, SECONDS_PER_DAY), rest = seconds - day * SECONDS_PER_DAY;
	int64_t march = day + DAYS_TO_1970, era = floor_div(march, DAYS_PER_ERA);
	int in_era = march - era * DAYS_PER_ERA;
	int year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int in_year = in_era - (365 * year + year / 4 - year / 100);
	int month = (5 * in_year + 2) / 153; // 0 is March

	return (struct rtc_time){
		.year = era * 400 + year + (month >= 10),
		.month = month < 10 ? month + 3 : month - 9,
		.day = in_year - (153 * month + 2) / 5 + 1,
		.hour = rest / 3600,
		.minute = rest / 60 % 60,
		.second = rest % 60,
		.weekday = ((day + 4) % 7 + 7) % 7 + 1,
	};
}

int64_t rtc_time_to_seconds(const struct rtc_time *t)
{
	int year = t->month <= 2 ? t->year - 1 : t->year;
	int month = t->month <= 2 ? t->month + 9 : t->month - 3;
	int64_t era = floor_div(year, 400);
	int in_era_year = year - era * 400;
	int64_t day = era * DAYS_PER_ERA + in_era_year * 365 + in_era_year / 4 - in_era_year / 100 + (153 * month + 2) / 5 +
		      t->day - 1 - DAYS_TO_1970;

	return day * SECONDS_PER_DAY + t->hour * 3600 + t->minute * 60 + t->second;
}

uint8_t rtc_encode(unsigned value, uint8_t reg_b)
{
	return reg_b & RTC_B_BINARY ? value : value / 10 << 4 | value % 10;
}

unsigned rtc_decode(uint8_t reg, uint8_t reg_b)
{
	return reg_b & RTC_B_BINARY ? reg : (reg >> 4) * 10u + (reg & 15);
}

uint8_t rtc_encode_hour(unsigned hour, uint8_t reg_b)
{
	if (reg_b & RTC_B_24H)
		return rtc_encode(hour, reg_b);
	return rtc_encode(hour % 12 ? hour % 12 : 12, reg_b) | (hour >= 12 ? HOUR_PM : 0);
}

unsigned rtc_decode_hour(uint8_t reg, uint8_t reg_b)
{
	if (reg_b & RTC_B_24H)
		return rtc_decode(reg, reg_b);
	return rtc_decode(reg & ~HOUR_PM, reg_b) % 12 + (reg & HOUR_PM ? 12 : 0);
}
