package overair.clients;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.node.LwM2mResource;

/** The resources of one object instance, as text: what both generations of the device read from and write to. */
final class Values {

    private final Map<Integer, Map<Integer, String>> resources = new ConcurrentSkipListMap<>();

    /** The values of every instance named on the command line: object, then instance. */
    static Map<Integer, Map<Integer, Values>> byObject(Arguments arguments) {
        Map<Integer, Map<Integer, Values>> objects = new ConcurrentSkipListMap<>();
        arguments.values().forEach((path, value) -> {
            int[] ids = ids(path);
            objects.computeIfAbsent(ids[0], object -> new ConcurrentSkipListMap<>())
                    .computeIfAbsent(ids[1], instance -> new Values())
                    .put(ids[2], ids[3], value);
        });
        return objects;
    }

    /** The four numbers of a resource path; the resource instance is 0 where the path does not name one. */
    static int[] ids(String path) {
        String[] parts = path.split("/");
        if (parts.length < 4 || parts.length > 5 || !parts[0].isEmpty()) {
            throw new IllegalArgumentException("not a resource path: " + path);
        }
        int[] ids = new int[4];
        for (int i = 1; i < parts.length; i++) {
            ids[i - 1] = Integer.parseInt(parts[i]);
        }
        return ids;
    }

    void put(int resource, int instance, String text) {
        resources.computeIfAbsent(resource, id -> new ConcurrentSkipListMap<>()).put(instance, text);
    }

    /**
     * Takes over a resource that the server wrote, and says so: opaque values by their size and digest. Multiple
     * resources are forgotten: the two generations of the library disagree on how to look into them.
     */
    void write(String path, LwM2mResource resource) {
        resources.remove(resource.getId());
        if (resource.isMultiInstances()) {
            Console.event("write", "path", path);
            return;
        }
        put(resource.getId(), 0, Objects.text(resource.getValue()));
        if (resource.getValue() instanceof byte[] bytes) {
            Console.event("write", "path", path, "size", bytes.length, "sha256", Objects.sha256(bytes));
        } else {
            Console.event("write", "path", path, "value", Objects.text(resource.getValue()));
        }
    }

    /** The resource, or null where the instance has none. */
    LwM2mResource get(ObjectModel model, int resource) {
        Map<Integer, String> texts = resources.get(resource);
        ResourceModel resourceModel = model.resources.get(resource);
        boolean readable = resourceModel != null && resourceModel.operations.isReadable();
        return texts == null || !readable ? null : Objects.resource(resourceModel, texts);
    }

    /** Every resource that has a value and may be read. */
    List<LwM2mResource> readable(ObjectModel model) {
        return available(model).stream().map(id -> get(model, id)).filter(found -> found != null).toList();
    }

    /** Every resource that has a value, and every one that can only be written or executed. */
    List<Integer> available(ObjectModel model) {
        return model.resources.values().stream()
                .filter(resource -> resources.containsKey(resource.id) || !resource.operations.isReadable())
                .map(resource -> resource.id)
                .toList();
    }
}
