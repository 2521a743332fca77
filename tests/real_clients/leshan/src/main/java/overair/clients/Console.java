package overair.clients;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Events go out as one line of JSON each, commands come in as one line of words each:
 * {@code update}, {@code set PATH VALUE}, {@code reboot}, {@code deregister}, {@code quit}.
 */
final class Console {

    /** What a device does for each command. */
    interface Device {
        void update();

        /** Changes a resource and notifies whoever observes it. */
        void set(String path, String value);

        /** Begins anew, without a word to the server about the registration that it had. */
        void reboot();

        void deregister();
    }

    // UTF-8 whatever the locale says, and flushed at every line.
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Console() {
    }

    /** Prints an event with its fields, given as name, value, name, value; fields without a value are left out. */
    static synchronized void event(String name, Object... fields) {
        StringBuilder line = new StringBuilder("{\"event\":").append(quoted(name));
        for (int i = 0; i < fields.length; i += 2) {
            if (fields[i + 1] != null) {
                line.append(',').append(quoted(fields[i].toString())).append(':');
                line.append(quoted(fields[i + 1].toString()));
            }
        }
        OUT.println(line.append('}'));
    }

    /** Prints what went wrong with a registration operation; the code is null if no answer came. */
    static void failed(String operation, Integer code, String reason) {
        String dotted = code == null ? null : String.format("%d.%02d", code / 100, code % 100);
        event("failed", "operation", operation, "code", dotted, "reason", reason);
    }

    /** The location of a registration, always as "/rd/…": the library hands it out with and without the slash. */
    static String location(String registrationId) {
        return registrationId.startsWith("/") ? registrationId : "/" + registrationId;
    }

    /** Obeys commands until "quit" or the end of the input. */
    static void run(Device device) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null && !line.equals("quit"); line = in.readLine()) {
            String[] words = line.split(" ", 3);
            try {
                obey(device, words);
            } catch (IllegalArgumentException e) {
                event("error", "command", line, "reason", e.getMessage());
            }
        }
    }

    private static void obey(Device device, String[] words) {
        switch (words[0]) {
            case "update" -> device.update();
            case "reboot" -> device.reboot();
            case "deregister" -> device.deregister();
            case "set" -> {
                if (words.length != 3) {
                    throw new IllegalArgumentException("set takes a path and a value");
                }
                device.set(words[1], words[2]);
                event("set", "path", words[1], "value", words[2]);
            }
            default -> throw new IllegalArgumentException("no such command");
        }
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
