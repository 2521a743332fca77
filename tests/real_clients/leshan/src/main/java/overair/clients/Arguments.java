package overair.clients;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/**
 * The command line of the device.
 *
 * <pre>
 * --server coap://HOST:PORT | coaps://HOST:PORT
 * --endpoint NAME
 * --lifetime SECONDS
 * --set /OBJECT/INSTANCE/RESOURCE[/INSTANCE]=VALUE      any number of times
 * --psk-identity TEXT --psk-key HEX                     for coaps
 * --connection-id own | yes | off                       an id for itself; only the server's; none (Leshan 2)
 * --reconnect resume | full                             shake hands before each Update (Leshan 2)
 * --queue yes                                           register in queue mode
 * --firmware sound | damaged | unchanged                take updates of firmware, and what comes of them
 * </pre>
 */
final class Arguments {

    private final Map<String, String> options = new HashMap<>();
    private final Map<String, String> values = new TreeMap<>();

    Arguments(String[] args) {
        if (args.length % 2 != 0) {
            throw new IllegalArgumentException("every option takes one value");
        }
        for (int i = 0; i < args.length; i += 2) {
            if (args[i].equals("--set")) {
                int equals = args[i + 1].indexOf('=');
                values.put(args[i + 1].substring(0, equals), args[i + 1].substring(equals + 1));
            } else {
                options.put(args[i], args[i + 1]);
            }
        }
    }

    /** The value of an option that must be there. */
    String need(String option) {
        String value = options.get(option);
        if (value == null) {
            throw new IllegalArgumentException(option + " is missing");
        }
        return value;
    }

    /** The value of an option, or what it is otherwise. */
    String get(String option, String otherwise) {
        return options.getOrDefault(option, otherwise);
    }

    boolean has(String option) {
        return options.containsKey(option);
    }

    /** Resource paths and their values as text. */
    Map<String, String> values() {
        return values;
    }

    /** The pre-shared key, from hexadecimal digits. */
    byte[] pskKey() {
        return Objects.bytes(need("--psk-key"));
    }
}
