package overair.clients;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.core.network.CoapEndpoint;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.resource.LwM2mInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.core.node.LwM2mObjectInstance;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.request.BindingMode;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ObserveResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpoint;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coap.CoapClientProtocolProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coaps.CoapsClientProtocolProvider;

/** A device on Leshan 2.x: LwM2M 1.1. */
public final class Device implements Console.Device, Firmware.Board {

    private static final int SHORT_SERVER_ID = 123;

    private final Map<String, Instance> instances = new HashMap<>();
    private final LeshanClient client;
    private final Firmware firmware;

    private Device(Arguments arguments) {
        firmware = arguments.has("--firmware") ? new Firmware(this, arguments.need("--firmware")) : null;
        ObjectsInitializer objects = new ObjectsInitializer(new StaticModel(Objects.models()));
        objects.setInstancesForObject(0, security(arguments));
        objects.setInstancesForObject(1, new Server(SHORT_SERVER_ID, Long.parseLong(arguments.need("--lifetime")),
                EnumSet.of(BindingMode.U), false, BindingMode.U));
        Values.byObject(arguments).forEach((object, values) -> {
            // The library wants to know how to create further instances, even if nobody asks for one.
            objects.setFactoryForObject(object, (model, id, used) -> instance(object, id, new Values()));
            objects.setInstancesForObject(object,
                    values.entrySet().stream().map(entry -> instance(object, entry.getKey(), entry.getValue()))
                            .toArray(LwM2mInstanceEnabler[]::new));
        });
        DefaultRegistrationEngineFactory engine = new DefaultRegistrationEngineFactory();
        engine.setQueueMode(arguments.has("--queue"));
        // How a device without a connection id comes back after its NAT forgot it.
        String reconnect = arguments.get("--reconnect", null);
        engine.setReconnectOnUpdate(reconnect != null);
        engine.setResumeOnConnect(!"full".equals(reconnect));
        client = new LeshanClientBuilder(arguments.need("--endpoint"))
                .setObjects(objects.createAll())
                .setRegistrationEngineFactory(engine)
                .setEndpointsProviders(transport(arguments))
                .build();
        client.addObserver(new Reporter());
    }

    public static void main(String[] args) throws IOException {
        Device device = new Device(new Arguments(args));
        device.client.start();
        Console.run(device);
        device.client.destroy(false);
    }

    @Override
    public void update() {
        client.triggerRegistrationUpdate();
    }

    @Override
    public void set(String path, String value) {
        int[] ids = Values.ids(path);
        Instance instance = instances.get("/" + ids[0] + "/" + ids[1]);
        if (instance == null) {
            throw new IllegalArgumentException("no such object instance: " + path);
        }
        instance.values.put(ids[2], ids[3], value);
        instance.fireResourceChange(ids[2]);
    }

    @Override
    public void reboot() {
        client.stop(false);
        client.start();
    }

    @Override
    public void deregister() {
        client.stop(true);
    }

    @Override
    public CoapEndpoint endpoint() {
        LwM2mServer server = client.getRegisteredServers().values().iterator().next();
        return ((CaliforniumClientEndpoint) client.getEndpoint(server)).getCoapEndpoint();
    }

    private Instance instance(int object, int id, Values values) {
        Instance instance = new Instance(object, id, values);
        instances.put(instance.path(), instance);
        return instance;
    }

    private static Security security(Arguments arguments) {
        String server = arguments.need("--server");
        if (!server.startsWith("coaps:")) {
            return Security.noSec(server, SHORT_SERVER_ID);
        }
        byte[] identity = arguments.need("--psk-identity").getBytes(StandardCharsets.UTF_8);
        return Security.psk(server, SHORT_SERVER_ID, identity, arguments.pskKey());
    }

    private static CaliforniumClientEndpointsProvider transport(Arguments arguments) {
        CaliforniumClientEndpointsProvider.Builder builder = new CaliforniumClientEndpointsProvider.Builder(
                new CoapClientProtocolProvider(), new CoapsClientProtocolProvider());
        Configuration configuration = builder.createDefaultConfiguration();
        configuration.set(CoapConfig.MAX_RESOURCE_BODY_SIZE, Firmware.IMAGE_BYTES_MAX);
        configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, connectionIdLength(arguments));
        return builder.setConfiguration(configuration).build();
    }

    /**
     * What the library offers of RFC 9146. Left alone, it wants an id of 6 bytes in what it gets; of length 0, none
     * for itself, and uses the server's; of length -1, it does not offer the extension at all.
     */
    private static Integer connectionIdLength(Arguments arguments) {
        return switch (arguments.get("--connection-id", "own")) {
            case "own" -> null;
            case "yes" -> 0;
            case "off" -> -1;
            default -> throw new IllegalArgumentException("--connection-id: own, yes or off");
        };
    }

    /** One object instance that answers from its values and reports what the server does to it. */
    private final class Instance extends BaseInstanceEnabler {

        private final int object;
        private final Values values;

        Instance(int object, int id, Values values) {
            super(id);
            this.object = object;
            this.values = values;
        }

        String path() {
            return "/" + object + "/" + getId();
        }

        @Override
        public ReadResponse read(LwM2mServer server) {
            report(server, "read", path());
            return ReadResponse.success(new LwM2mObjectInstance(getId(), values.readable(getModel())));
        }

        @Override
        public ReadResponse read(LwM2mServer server, int resource) {
            report(server, "read", path() + "/" + resource);
            LwM2mResource found = values.get(getModel(), resource);
            return found == null ? ReadResponse.notFound() : ReadResponse.success(found);
        }

        @Override
        public ObserveResponse observe(LwM2mServer server) {
            report(server, "observe", path());
            return super.observe(server);
        }

        @Override
        public ObserveResponse observe(LwM2mServer server, int resource) {
            report(server, "observe", path() + "/" + resource);
            return super.observe(server, resource);
        }

        @Override
        public WriteResponse write(LwM2mServer server, boolean replace, int resource, LwM2mResource value) {
            values.write(path() + "/" + resource, value);
            fireResourceChange(resource);
            if (firmware != null && path().equals("/5/0") && resource == 1) {
                firmware.written(Objects.text(value.getValue()));
            }
            return WriteResponse.success();
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource,
                org.eclipse.leshan.core.request.argument.Arguments arguments) {
            String text = arguments == null || arguments.isEmpty() ? null : arguments.serialize();
            Console.event("execute", "path", path() + "/" + resource, "arguments", text);
            boolean refused = firmware != null && path().equals("/5/0") && resource == 2 && !firmware.executed();
            return refused ? ExecuteResponse.methodNotAllowed() : ExecuteResponse.success();
        }

        /** The library reads for itself, too; only what the server asks is an event. */
        private void report(LwM2mServer server, String event, String path) {
            if (!server.isSystem()) {
                Console.event(event, "path", path);
            }
        }

        @Override
        public List<Integer> getAvailableResourceIds(ObjectModel model) {
            return values.available(model);
        }
    }

    /** Prints what becomes of each registration operation. */
    private static final class Reporter extends LwM2mClientObserverAdapter {

        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String id) {
            Console.event("registered", "location", Console.location(id));
        }

        @Override
        public void onRegistrationFailure(LwM2mServer server, RegisterRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("register", code, message, cause);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            Console.failed("register", null, "timeout");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            Console.event("updated");
        }

        @Override
        public void onUpdateFailure(LwM2mServer server, UpdateRequest request, ResponseCode code, String message,
                Exception cause) {
            failed("update", code, message, cause);
        }

        @Override
        public void onUpdateTimeout(LwM2mServer server, UpdateRequest request) {
            Console.failed("update", null, "timeout");
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
            Console.event("deregistered");
        }

        @Override
        public void onDeregistrationFailure(LwM2mServer server, DeregisterRequest request, ResponseCode code,
                String message, Exception cause) {
            failed("deregister", code, message, cause);
        }

        @Override
        public void onDeregistrationTimeout(LwM2mServer server, DeregisterRequest request) {
            Console.failed("deregister", null, "timeout");
        }

        private static void failed(String operation, ResponseCode code, String message, Exception cause) {
            Console.failed(operation, code == null ? null : code.getCode(), cause == null ? message : cause.toString());
        }
    }
}
