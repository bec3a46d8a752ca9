import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.FileLock;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AbortedTxn;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.Cleaner;
import org.apache.kafka.storage.internals.log.EpochEntry;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogToClean;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.SkimpyOffsetMap;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.internals.log.VerificationGuard;
import org.apache.kafka.storage.internals.utils.Throttler;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * Apache Kafka's own log over a partition's directory, a line at a time, each answered by a line of JSON:
 *
 *   open DIRECTORY CLEAN RECOVERY_POINT   what is in it
 *   make DIRECTORY SEED CLEAN             a log of all kinds of batches; closed, or left as a kill leaves it
 *   clean DIRECTORY FROM UPTO NOW RETENTION   a round of its cleaner over the offsets FROM to UPTO, as at the time
 *                                             NOW, with that delete.retention.ms; every batch that is left
 *   lock FILE                             whether its lock could be taken, which is kept
 *   unlock FILE                           give it back
 */
public class Logs {
    private static final KafkaScheduler SCHEDULER = new KafkaScheduler(1);
    private static final BrokerTopicStats STATS = new BrokerTopicStats();
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long NOW = System.currentTimeMillis();
    private static FileLock lock;

    public static void main(String[] arguments) throws Exception {
        SCHEDULER.startup();
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            try {
                answers.println(JSON.writeValueAsString(answer(words)));
            } catch (Throwable failure) {
                answers.println(JSON.writeValueAsString(JSON.createObjectNode().put("error", failure.toString())));
            }
        }
        SCHEDULER.shutdown();
    }

    private static ObjectNode answer(String[] words) throws Exception {
        File directory = new File(words[1]);
        if (words[0].equals("open")) {
            UnifiedLog log = open(directory, Boolean.parseBoolean(words[2]), Long.parseLong(words[3]));
            ObjectNode found = describe(log);
            log.close();
            return found;
        }
        if (words[0].equals("clean")) {
            return clean(directory, Long.parseLong(words[2]), Long.parseLong(words[3]), Long.parseLong(words[4]), words[5]);
        }
        if (words[0].equals("lock")) {
            lock = new FileLock(directory);
            return JSON.createObjectNode().put("locked", lock.tryLock());
        }
        if (words[0].equals("unlock")) {
            lock.unlockAndClose();
            return JSON.createObjectNode();
        }
        directory.mkdirs();
        UnifiedLog log = open(directory, true, 0);
        fill(log, new Random(Long.parseLong(words[2])));
        ObjectNode found = describe(log);
        if (Boolean.parseBoolean(words[3])) {
            log.close();
        } else {
            log.closeHandlers();
        }
        return found;
    }

    private static UnifiedLog open(File directory, boolean clean, long recoveryPoint) throws Exception {
        return open(directory, clean, recoveryPoint, new HashMap<>());
    }

    private static UnifiedLog open(File directory, boolean clean, long recoveryPoint, Map<String, Object> settings)
            throws Exception {
        settings.put("internal.segment.bytes", 5000);
        settings.put("index.interval.bytes", 500);
        settings.put("segment.index.bytes", 1000);
        return UnifiedLog.create(directory, new LogConfig(settings), 0, recoveryPoint, SCHEDULER, STATS, Time.SYSTEM,
            60_000, new ProducerStateManagerConfig(86_400_000, false), 600_000, new LogDirFailureChannel(1), clean,
            Optional.empty());
    }

    private static ObjectNode clean(File directory, long from, long upTo, long now, String retentionMs) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("cleanup.policy", "compact");
        settings.put("delete.retention.ms", retentionMs);
        UnifiedLog log = open(directory, true, 0, settings);
        log.updateHighWatermark(log.logEndOffset());
        Throttler throttler = new Throttler(Double.MAX_VALUE, 300, "cleaner-io", "bytes", Time.SYSTEM);
        Cleaner cleaner = new Cleaner(0, new SkimpyOffsetMap(1 << 20), 1 << 16, 1 << 20, 0.9, throttler, Time.SYSTEM, topic -> { });
        long end = cleaner.doClean(new LogToClean(log, from, upTo, false), now).getKey();
        ObjectNode found = JSON.createObjectNode().put("end", end);
        batches(log, found.putArray("batches"));
        log.close();
        return found;
    }

    private static void batches(UnifiedLog log, ArrayNode found) throws Exception {
        long offset = log.logStartOffset();
        while (offset < log.logEndOffset()) {
            for (RecordBatch batch : log.read(offset, 3000, FetchIsolation.LOG_END, true).records.batches()) {
                batch.ensureValid();
                ObjectNode told = found.addObject().put("base", batch.baseOffset()).put("last", batch.lastOffset())
                    .put("control", batch.isControlBatch()).put("transactional", batch.isTransactional())
                    .put("producer", batch.producerId()).put("epoch", batch.producerEpoch())
                    .put("sequence", batch.baseSequence()).put("codec", batch.compressionType().id)
                    .put("leader_epoch", batch.partitionLeaderEpoch()).put("max_timestamp", batch.maxTimestamp())
                    .put("horizon", batch.deleteHorizonMs().orElse(-1));
                ArrayNode records = told.putArray("records");
                for (Record record : batch) {
                    records.addArray().add(record.offset()).add(record.timestamp()).add(hex(record.key())).add(hex(record.value()));
                }
                offset = batch.nextOffset();
            }
        }
    }

    private static String hex(ByteBuffer bytes) {
        if (bytes == null) {
            return null;
        }
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        return HexFormat.of().formatHex(copy);
    }

    private static void fill(UnifiedLog log, Random random) throws Exception {
        Compression[] codecs = {Compression.NONE, Compression.gzip().build(), Compression.snappy().build(),
            Compression.lz4().build(), Compression.zstd().build()};
        int[] sequences = new int[4];
        boolean[] open = new boolean[4];
        for (int step = 0; step < 80; step++) {
            int epoch = step / 20 + 1;
            int producer = random.nextInt(4);
            Compression codec = codecs[random.nextInt(codecs.length)];
            SimpleRecord[] records = new SimpleRecord[random.nextInt(5) + 1];
            for (int i = 0; i < records.length; i++) {
                byte[] value = new byte[random.nextInt(300)];
                random.nextBytes(value);
                records[i] = new SimpleRecord(NOW + random.nextInt(1000), ("key" + i).getBytes(), value);
            }
            if (producer == 0) {
                log.appendAsLeader(MemoryRecords.withRecords(codec, records), epoch);
            } else if (producer == 1) {
                log.appendAsLeader(MemoryRecords.withIdempotentRecords(codec, producer, (short) 0, sequences[producer], records), epoch);
            } else if (open[producer] && random.nextInt(3) == 0) {
                ControlRecordType type = random.nextBoolean() ? ControlRecordType.ABORT : ControlRecordType.COMMIT;
                MemoryRecords marker = MemoryRecords.withEndTransactionMarker(NOW, producer, (short) 0, new EndTransactionMarker(type, 3));
                log.appendAsLeader(marker, epoch, AppendOrigin.COORDINATOR, RequestLocal.noCaching(), VerificationGuard.SENTINEL, (short) 1);
                open[producer] = false;
                continue;
            } else {
                open[producer] = true;
                log.appendAsLeader(MemoryRecords.withTransactionalRecords(codec, producer, (short) 0, sequences[producer], records), epoch);
            }
            sequences[producer] += records.length;
        }
        log.updateHighWatermark(log.logEndOffset());
    }

    private static ObjectNode describe(UnifiedLog log) throws Exception {
        log.updateHighWatermark(log.logEndOffset());
        ObjectNode found = JSON.createObjectNode();
        found.put("start", log.logStartOffset());
        found.put("end", log.logEndOffset());
        found.put("last_stable", log.lastStableOffset());
        ArrayNode epochs = found.putArray("epochs");
        for (EpochEntry entry : log.leaderEpochCache().epochEntries()) {
            epochs.addArray().add(entry.epoch()).add(entry.startOffset());
        }
        ArrayNode producers = found.putArray("producers");
        log.activeProducers().forEach(producer -> producers.addArray().add(producer.producerId())
            .add(producer.producerEpoch()).add(producer.lastSequence()).add(producer.coordinatorEpoch())
            .add(producer.currentTxnStartOffset()));
        ArrayNode aborted = found.putArray("aborted");
        for (AbortedTxn transaction : log.collectAbortedTransactions(0, log.logEndOffset())) {
            aborted.addArray().add(transaction.producerId()).add(transaction.firstOffset())
                .add(transaction.lastOffset()).add(transaction.lastStableOffset());
        }
        ArrayNode records = found.putArray("records");
        long offset = log.logStartOffset();
        while (offset < log.logEndOffset()) {
            for (RecordBatch batch : log.read(offset, 3000, FetchIsolation.LOG_END, true).records.batches()) {
                batch.ensureValid();
                for (Record record : batch) {
                    records.addArray().add(record.offset()).add(record.timestamp()).add(record.valueSize());
                }
                offset = batch.nextOffset();
            }
        }
        ArrayNode times = found.putArray("times");
        for (long ahead = 0; ahead < 1000; ahead += 37) {
            var result = log.fetchOffsetByTimestamp(NOW + ahead, Optional.empty()).timestampAndOffsetOpt();
            times.addArray().add(NOW + ahead).add(result.isPresent() ? result.get().offset : -1);
        }
        return found;
    }
}
