package overair.clients;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.eclipse.californium.core.CoapClient;
import org.eclipse.californium.core.CoapResponse;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.exception.ConnectorException;

/**
 * Object 5 of a device that can be updated (spec lwm2m.md 8.2): pulls the image by CoAP, on the endpoint and with the
 * key that it has for its server, and reboots into it.
 *
 * <p>An image is a line with the version that it boots into, and then anything. What goes wrong is said by the option
 * {@code --firmware}: {@code sound}, nothing; {@code damaged}, every image is found damaged (Result 5);
 * {@code unchanged}, it boots into what it had, and claims success.
 */
final class Firmware {

    /** The largest image that the device has room for. */
    static final int IMAGE_BYTES_MAX = 1 << 20;

    /** What the update needs of the device around it. */
    interface Board {
        /** The endpoint that speaks with the server. */
        CoapEndpoint endpoint();

        /** Changes a resource and notifies whoever observes it. */
        void set(String path, String value);

        /** Registers anew; the server hears nothing of the registration before. */
        void reboot();
    }

    private static final String STATE = "/5/0/3";
    private static final String RESULT = "/5/0/5";
    private static final long ANSWER_MS = 10_000;
    private static final long FLASH_MS = 200;

    private final ScheduledExecutorService work = Executors.newSingleThreadScheduledExecutor(run -> {
        Thread thread = new Thread(run, "firmware");
        thread.setDaemon(true);
        return thread;
    });
    private final Board board;
    private final String fault;
    private int state;
    private String image;

    Firmware(Board board, String fault) {
        this.board = board;
        this.fault = fault;
    }

    /** The server wrote the Package URI; the answer does not wait for the download. */
    synchronized void written(String uri) {
        image = null;
        if (uri.isEmpty()) {
            show(0, 0);
        } else {
            show(1, 0);
            work.execute(() -> download(uri));
        }
    }

    /** The server executed Update; returns whether that was the time for it. */
    synchronized boolean executed() {
        if (state != 2) {
            return false;
        }
        show(3, 0);
        work.schedule(this::install, FLASH_MS, TimeUnit.MILLISECONDS);
        return true;
    }

    private void download(String uri) {
        CoapClient client = new CoapClient(uri);
        client.setEndpoint(board.endpoint());
        client.setTimeout(ANSWER_MS);
        try {
            CoapResponse response = client.get();
            byte[] body = response == null || !response.isSuccess() ? null : response.getPayload();
            Console.event("downloaded", "uri", uri, "code", response == null ? null : response.getCode(),
                    "size", body == null ? null : body.length, "sha256", body == null ? null : Objects.sha256(body));
            arrived(body);
        } catch (ConnectorException | IOException e) {
            Console.event("downloaded", "uri", uri, "reason", e.toString());
            arrived(null);
        }
    }

    private synchronized void arrived(byte[] body) {
        if (state != 1) {
            return;
        }
        if (body == null) {
            show(0, 4);
        } else if (fault.equals("damaged")) {
            show(0, 5);
        } else {
            image = new String(body, StandardCharsets.ISO_8859_1);
            show(2, 0);
        }
    }

    private synchronized void install() {
        if (!fault.equals("unchanged")) {
            board.set("/3/0/3", image.substring(0, image.indexOf('\n')));
        }
        show(0, 1);
        board.reboot();
    }

    /** The result first: who hears of the state may ask at once what it came of. */
    private void show(int state, int result) {
        this.state = state;
        board.set(RESULT, String.valueOf(result));
        board.set(STATE, String.valueOf(state));
        Console.event("firmware", "state", state, "result", result);
    }
}
