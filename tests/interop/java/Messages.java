import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Reads and writes messages with Apache Kafka's own classes, a line at a time:
 *
 *   NAME VERSION HEX    →  HEX JSON     the bytes written again, and what was read; "-" stands for no bytes
 *                       →  unknown      no such message or version
 *                       →  error TEXT   the bytes cannot be read
 */
public class Messages {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.common.metadata.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s",
        "org.apache.kafka.raft.generated.%s",
    };

    private static final Map<String, Class<?>> CLASSES = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            answers.println(answer(words[0], Short.parseShort(words[1]), words[2]));
            answers.flush();
        }
    }

    private static String answer(String name, short version, String hex) throws Exception {
        Class<?> found = CLASSES.computeIfAbsent(name, Messages::find);
        if (found == Void.class) {
            return "unknown";
        }
        Message message = (Message) found.getDeclaredConstructor().newInstance();
        if (version < message.lowestSupportedVersion() || version > message.highestSupportedVersion()) {
            return "unknown";
        }
        try {
            ByteBuffer input = ByteBuffer.wrap(HexFormat.of().parseHex(hex.equals("-") ? "" : hex));
            message.read(new ByteBufferAccessor(input), version);
            if (input.hasRemaining()) {
                return "error " + input.remaining() + " bytes too many";
            }
            return written(message, version) + " " + json(found, message, version);
        } catch (RuntimeException | InvocationTargetException failure) {
            return "error " + String.valueOf(failure).replace('\n', ' ');
        }
    }

    private static String written(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer output = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(output), cache, version);
        return output.position() == 0 ? "-" : HexFormat.of().formatHex(output.array(), 0, output.position());
    }

    private static JsonNode json(Class<?> found, Message message, short version) throws Exception {
        Class<?> converter = Class.forName(found.getName() + "JsonConverter");
        Method write = converter.getMethod("write", found, short.class);
        return (JsonNode) write.invoke(null, message, version);
    }

    private static Class<?> find(String name) {
        for (String pattern : PACKAGES) {
            try {
                Class<?> found = Class.forName(String.format(pattern, name));
                if (Message.class.isAssignableFrom(found)) {
                    return found;
                }
            } catch (ClassNotFoundException elsewhere) {
                continue;
            }
        }
        return Void.class;
    }
}
