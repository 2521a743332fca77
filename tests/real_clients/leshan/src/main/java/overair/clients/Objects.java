package overair.clients;

import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Date;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.ResourceModel.Operations;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.node.LwM2mMultipleResource;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.node.LwM2mSingleResource;
import org.eclipse.leshan.core.node.ObjectLink;

/** Object models beyond those in the library, and values from text. */
final class Objects {

    private Objects() {
    }

    /** The library's own models, object 9 (spec lwm2m.md 9) and object 10241 (spec lwm2m.md 7.12). */
    static List<ObjectModel> models() {
        List<ObjectModel> models = new ArrayList<>(ObjectLoader.loadDefault());
        models.add(new ObjectModel(9, "Software Management", "", "1.0", true, false, List.of(
                resource(0, "PkgName", Operations.R, false, Type.STRING),
                resource(1, "PkgVersion", Operations.R, false, Type.STRING),
                resource(2, "Package", Operations.W, false, Type.OPAQUE),
                resource(3, "Package URI", Operations.W, false, Type.STRING),
                resource(4, "Install", Operations.E, false, Type.STRING),
                resource(6, "Uninstall", Operations.E, false, Type.STRING),
                resource(7, "Update State", Operations.R, false, Type.INTEGER),
                resource(8, "Update Supported Objects", Operations.RW, false, Type.BOOLEAN),
                resource(9, "Update Result", Operations.R, false, Type.INTEGER),
                resource(10, "Activate", Operations.E, false, Type.STRING),
                resource(11, "Deactivate", Operations.E, false, Type.STRING),
                resource(12, "Activation State", Operations.R, false, Type.BOOLEAN))));
        models.add(new ObjectModel(10241, "HostDeviceInfo", "", "1.0", true, false, List.of(
                resource(5905, "Host Device Manufacturer", Operations.R, true, Type.STRING),
                resource(5906, "Host Device Model Number", Operations.R, true, Type.STRING),
                resource(5907, "Host Device Unique ID", Operations.R, true, Type.STRING),
                resource(5908, "Host Device Software Version", Operations.R, true, Type.STRING))));
        return models;
    }

    private static ResourceModel resource(int id, String name, Operations operations, boolean multiple, Type type) {
        return new ResourceModel(id, name, operations, multiple, false, type, "", "", "");
    }

    /** A resource of the model from its values as text, one per resource instance. */
    static LwM2mResource resource(ResourceModel model, Map<Integer, String> texts) {
        if (!model.multiple) {
            return LwM2mSingleResource.newResource(model.id, value(model.type, texts.get(0)), model.type);
        }
        Map<Integer, Object> values = new TreeMap<>();
        texts.forEach((instance, text) -> values.put(instance, value(model.type, text)));
        return LwM2mMultipleResource.newResource(model.id, values, model.type);
    }

    /**
     * A value in the library's own type. Times are Unix seconds, opaque values hexadecimal, booleans "0" or "1",
     * links "object:instance".
     */
    static Object value(Type type, String text) {
        return switch (type) {
            case STRING -> text;
            case INTEGER -> Long.valueOf(text);
            case FLOAT -> Double.valueOf(text);
            case BOOLEAN -> text.equals("1");
            case TIME -> new Date(Long.parseLong(text) * 1000);
            case OPAQUE -> bytes(text);
            case OBJLNK -> {
                String[] ids = text.split(":");
                yield new ObjectLink(Integer.parseInt(ids[0]), Integer.parseInt(ids[1]));
            }
            default -> throw new IllegalArgumentException("no text form for the type " + type);
        };
    }

    /** A value as text, the inverse of {@link #value}. */
    static String text(Object value) {
        if (value instanceof byte[] bytes) {
            return HexFormat.of().formatHex(bytes);
        }
        if (value instanceof Date date) {
            return String.valueOf(date.getTime() / 1000);
        }
        if (value instanceof Boolean flag) {
            return flag ? "1" : "0";
        }
        if (value instanceof ObjectLink link) {
            return link.getObjectId() + ":" + link.getObjectInstanceId();
        }
        return String.valueOf(value);
    }

    static String sha256(byte[] bytes) {
        try {
            return text(MessageDigest.getInstance("SHA-256").digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    static byte[] bytes(String hex) {
        return HexFormat.of().parseHex(hex);
    }
}
