#include "chat/url_policy.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "io/fetch.h"

#define HOST_MAX 255

struct target {
  char host[HOST_MAX + 1]; /* lower case as curl normalises it; IPv6 without brackets */
  char port[8];
  bool https;
  bool is_address; /* the host is an IP address, in whatever spelling */
  bool is_public;  /* of an address */
  bool is_loopback;
};

/* ---- taking a URL apart, with the parser that will connect ---- */

static void classify(struct target *target) {
  struct sockaddr_in v4 = {.sin_family = AF_INET};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
  if (inet_pton(AF_INET, target->host, &v4.sin_addr) == 1) {
    target->is_address = true;
    target->is_public = fetch_address_is_public(NULL, (const struct sockaddr *)&v4);
    target->is_loopback = ntohl(v4.sin_addr.s_addr) >> 24 == 127;
  } else if (inet_pton(AF_INET6, target->host, &v6.sin6_addr) == 1) {
    target->is_address = true;
    target->is_public = fetch_address_is_public(NULL, (const struct sockaddr *)&v6);
    target->is_loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
  } else {
    target->is_loopback = strcasecmp(target->host, "localhost") == 0;
  }
}

/* Copies the host without IPv6 brackets and without the dot that makes a name absolute. */
static bool copy_host(struct target *target, const char *host) {
  size_t len = strlen(host);
  if (len > 1 && host[0] == '[' && host[len - 1] == ']') host++, len -= 2;
  if (len > 1 && host[len - 1] == '.') len--;
  if (len == 0 || len > HOST_MAX) return false;
  memcpy(target->host, host, len);
  target->host[len] = '\0';
  return true;
}

static bool take_parts(CURLU *parsed, struct target *target, const char *user, struct err *err) {
  char *scheme = NULL, *host = NULL, *port = NULL;
  bool good = false;
  if (user != NULL) {
    (void)err_set(err, ERR_REFUSED, "the URL carries a user name");
  } else if (curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
             curl_url_get(parsed, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
             curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK || !copy_host(target, host)) {
    (void)err_set(err, ERR_REFUSED, "the URL has no usable host");
  } else if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0) {
    (void)err_set(err, ERR_REFUSED, "the URL is neither https nor http");
  } else {
    target->https = strcmp(scheme, "https") == 0;
    snprintf(target->port, sizeof target->port, "%s", port);
    good = true;
  }
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  return good;
}

static bool take_apart(const char *url, struct target *ret_target, struct err *err) {
  if (strlen(url) > URL_POLICY_URL_MAX)
    return err_set(err, ERR_REFUSED, "the URL is over %d characters", URL_POLICY_URL_MAX);
  for (const char *at = url; *at != '\0'; at++)
    if (*at <= ' ' || *at >= 0x7f || *at == '\\')
      return err_set(err, ERR_REFUSED, "the URL has a character that must be percent-encoded");
  struct target target = {0};
  CURLU *parsed = curl_url();
  if (parsed == NULL) return err_set(err, ERR_INTERNAL, "curl_url failed");
  bool good = false;
  if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK) {
    (void)err_set(err, ERR_REFUSED, "this is not an https URL");
  } else {
    char *user = NULL;
    (void)curl_url_get(parsed, CURLUPART_USER, &user, 0);
    good = take_parts(parsed, &target, user, err);
    curl_free(user);
  }
  curl_url_cleanup(parsed);
  if (!good) return false;
  classify(&target);
  *ret_target = target;
  return true;
}

/* ---- the list of exempted hosts ---- */

/* One entry, "host", "host:port", "[v6]" or "[v6]:port", against the target. */
static bool entry_matches(const char *entry, size_t len, const struct target *target) {
  char host[HOST_MAX + 1];
  const char *port = NULL;
  size_t port_len = 0;
  if (len == 0 || len > HOST_MAX) return false;
  const char *bracket = entry[0] == '[' ? memchr(entry, ']', len) : NULL;
  const char *name = bracket != NULL ? entry + 1 : entry;
  const char *rest = bracket != NULL ? bracket + 1 : memchr(entry, ':', len);
  size_t name_len = bracket != NULL ? (size_t)(bracket - name) : rest != NULL ? (size_t)(rest - entry) : len;
  if (rest != NULL && rest < entry + len && *rest == ':') {
    port = rest + 1;
    port_len = (size_t)(entry + len - port);
  }
  memcpy(host, name, name_len);
  host[name_len] = '\0';
  if (strcasecmp(host, target->host) != 0) return false;
  return port == NULL || (strlen(target->port) == port_len && memcmp(port, target->port, port_len) == 0);
}

static bool is_listed(const struct target *target, const char *allow) {
  if (allow == NULL) return false;
  for (const char *at = allow; *at != '\0';) {
    at += strspn(at, ", \t");
    size_t len = strcspn(at, ", \t");
    if (entry_matches(at, len, target)) return true;
    at += len;
  }
  return false;
}

bool url_policy_is_listed(const char *url, const char *allow) {
  struct target target;
  return take_apart(url, &target, NULL) && is_listed(&target, allow);
}

/* ---- the rules ---- */

static bool ends_with(const char *text, const char *end) {
  size_t len = strlen(text), end_len = strlen(end);
  return len >= end_len && strcasecmp(text + len - end_len, end) == 0;
}

/* Names that never mean a host of the public internet. What a public name resolves to is checked at the connection. */
static bool is_private_name(const char *host) {
  static const char *const suffixes[] = {".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test"};
  for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
    if (ends_with(host, suffixes[i])) return true;
  return strchr(host, '.') == NULL;
}

bool url_policy_outgoing(const char *url, const char *allow, struct err *err) {
  struct target target;
  if (!take_apart(url, &target, err)) return false;
  bool listed = is_listed(&target, allow);
  if (!target.https && !(listed && target.is_loopback)) {
    (void)err_set(err, ERR_REFUSED, "the URL is not https");
    return err_hint(err, "plain http works for loopback hosts that " URL_POLICY_ALLOW_ENV " names, for tests only");
  }
  if (listed) return true;
  if (target.is_address ? !target.is_public : is_private_name(target.host)) {
    (void)err_set(err, ERR_REFUSED, "%s is not a public host", target.host);
    return err_hint(err, "name it in " URL_POLICY_ALLOW_ENV " to allow it");
  }
  if (strcmp(target.port, "443") != 0) {
    (void)err_set(err, ERR_REFUSED, "port %s is not 443", target.port);
    return err_hint(err, "name %s:%s in " URL_POLICY_ALLOW_ENV " to allow it", target.host, target.port);
  }
  return true;
}

bool url_policy_slack_response(const char *url, struct err *err) {
  struct target target;
  if (!take_apart(url, &target, err)) return false;
  bool known = strcmp(target.host, "hooks.slack.com") == 0 || strcmp(target.host, "hooks.slack-gov.com") == 0;
  if (!known || !target.https || strcmp(target.port, "443") != 0)
    return err_set(err, ERR_REFUSED, "the response_url does not lead to Slack");
  return true;
}

bool url_policy_slack_api(const char *url, struct err *err) {
  struct target target;
  if (!take_apart(url, &target, err)) return false;
  if (!target.https && !target.is_loopback)
    return err_set(err, ERR_REFUSED, "Slack's API is not asked over plain http: the token would be readable");
  return true;
}
