/**
 * A service of a compose file that says its name and who has called it, at /cgi-bin/who on port 80.
 * @param more further keys of it, indented by four
 */
export const answering = (service: string, more: string): string => `  ${service}:
    image: busybox
    init: true
    command:
      - sh
      - -c
      - |
        mkdir -p /www/cgi-bin
        printf '#!/bin/sh\\necho; echo $$(hostname) $$REMOTE_ADDR\\n' > /www/cgi-bin/who
        chmod +x /www/cgi-bin/who
        exec httpd -f -p 80 -h /www
    stop_grace_period: 1s
${more}`;
