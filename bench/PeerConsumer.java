// SPDX-License-Identifier: Apache-2.0
// Confluent Parallel Consumer, ordered by key; the work of a message is a thread that sleeps. Prints what limit_consumer prints.

import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class PeerConsumer {
    static final AtomicLong began = new AtomicLong(), beganCpu = new AtomicLong(), work = new AtomicLong();

    static long cpu() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    static void handle(long max, CountDownLatch left) {
        if (began.get() == 0 && began.compareAndSet(0, System.nanoTime()))
            beganCpu.set(cpu());
        long nanos = max == 0 ? 0 : ThreadLocalRandom.current().nextLong(max * 1000 + 1);
        work.addAndGet(nanos);
        for (long until = System.nanoTime() + nanos, rest; (rest = until - System.nanoTime()) > 0;)
            LockSupport.parkNanos(rest);
        left.countDown();
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", arguments[0]);
        settings.put("group.id", "peer-" + System.nanoTime());
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        CountDownLatch left = new CountDownLatch(Integer.parseInt(arguments[2]));
        long max = Long.parseLong(arguments[4]);
        var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var options = ParallelConsumerOptions.<byte[], byte[]>builder().consumer(consumer)
                .ordering(ParallelConsumerOptions.ProcessingOrder.KEY).maxConcurrency(Integer.parseInt(arguments[3])).build();
        var processor = ParallelStreamProcessor.createEosStreamProcessor(options);
        processor.subscribe(List.of(arguments[1]));
        processor.poll(context -> handle(max, left));
        left.await();
        double seconds = (System.nanoTime() - began.get()) / 1e9;
        System.out.printf(java.util.Locale.ROOT, "%.6f %.6f %.6f%n", seconds, (cpu() - beganCpu.get()) / 1e9, work.get() / 1e9);
        System.out.flush();
        Runtime.getRuntime().halt(0); // its close takes seconds, which are not measured
    }
}
