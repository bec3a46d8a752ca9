import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocol;
import org.apache.kafka.common.message.JoinGroupRequestData.JoinGroupRequestProtocolCollection;
import org.apache.kafka.common.utils.LogContext;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordHelpers;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.OffsetAndMetadata;
import org.apache.kafka.coordinator.group.classic.ClassicGroup;
import org.apache.kafka.coordinator.group.classic.ClassicGroupMember;
import org.apache.kafka.coordinator.group.classic.ClassicGroupState;

/** Prints the records that Apache Kafka's group coordinator writes in a few situations: NAME KEY VALUE, in hex. */
public class GroupRecords {
    private static final GroupCoordinatorRecordSerde SERDE = new GroupCoordinatorRecordSerde();
    private static final long NOW = 1_700_000_000_000L;

    public static void main(String[] arguments) {
        Uuid topicId = new Uuid(0x0102030405060708L, 0x090a0b0c0d0e0f10L);
        print("offset", GroupCoordinatorRecordHelpers.newOffsetCommitRecord(
            "g", "orders", 3,
            new OffsetAndMetadata(-1L, 42L, OptionalInt.of(7), "héllo", NOW, OptionalLong.empty(), topicId)));
        print("offset without id", GroupCoordinatorRecordHelpers.newOffsetCommitRecord(
            "g", "orders", 3,
            new OffsetAndMetadata(-1L, 42L, OptionalInt.empty(), "", NOW, OptionalLong.empty(), Uuid.ZERO_UUID)));
        print("expiring offset", GroupCoordinatorRecordHelpers.newOffsetCommitRecord(
            "g", "orders", 3,
            new OffsetAndMetadata(-1L, 42L, OptionalInt.of(7), "m", NOW, OptionalLong.of(NOW + 1000), topicId)));
        print("offset tombstone", GroupCoordinatorRecordHelpers.newOffsetCommitTombstoneRecord("g", "orders", 3));

        ClassicGroup fresh = group(0, Optional.empty(), Optional.empty(), Optional.empty());
        print("new group", GroupCoordinatorRecordHelpers.newEmptyGroupMetadataRecord(fresh));
        ClassicGroup emptied = group(5, Optional.of("consumer"), Optional.empty(), Optional.empty());
        print("emptied group", GroupCoordinatorRecordHelpers.newGroupMetadataRecord(emptied, Map.of()));

        ClassicGroup stable = group(4, Optional.of("consumer"), Optional.of("range"), Optional.of("ada-1"));
        stable.add(member("ada-1", Optional.empty()));
        Map<String, byte[]> assignment = new LinkedHashMap<>();
        assignment.put("ada-1", new byte[] {9, 8});
        print("stable group", GroupCoordinatorRecordHelpers.newGroupMetadataRecord(stable, assignment));
        ClassicGroup statics = group(4, Optional.of("consumer"), Optional.of("range"), Optional.of("ada-1"));
        statics.add(member("ada-1", Optional.of("ada")));
        print("static group", GroupCoordinatorRecordHelpers.newGroupMetadataRecord(statics, assignment));
        print("group tombstone", GroupCoordinatorRecordHelpers.newGroupMetadataTombstoneRecord("g"));
    }

    private static ClassicGroup group(
        int generation, Optional<String> type, Optional<String> protocol, Optional<String> leader
    ) {
        return new ClassicGroup(
            new LogContext(), "g", ClassicGroupState.EMPTY, Time.SYSTEM, generation, type, protocol, leader, Optional.of(NOW));
    }

    private static ClassicGroupMember member(String id, Optional<String> instance) {
        JoinGroupRequestProtocolCollection protocols = new JoinGroupRequestProtocolCollection();
        protocols.add(new JoinGroupRequestProtocol().setName("range").setMetadata(new byte[] {1, 2, 3}));
        return new ClassicGroupMember(id, instance, "client", "/127.0.0.1", 60_000, 10_000, "consumer", protocols);
    }

    private static void print(String name, CoordinatorRecord record) {
        byte[] value = SERDE.serializeValue(record);
        String hex = value == null ? "-" : HexFormat.of().formatHex(value);
        System.out.println(name + "\t" + HexFormat.of().formatHex(SERDE.serializeKey(record)) + "\t" + hex);
    }
}
