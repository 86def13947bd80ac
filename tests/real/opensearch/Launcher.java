import java.util.Map;
import org.codelibs.opensearch.runner.OpenSearchRunner;
import org.opensearch.common.settings.Settings;

/**
 * One OpenSearch node on loopback, for tests: {@code Launcher PORT FOLDER [SETTING=VALUE …]}.
 *
 * <p>It ends by SIGTERM, and at once when the process that started it is gone, however that ended.
 */
public final class Launcher {
    private static final Map<String, String> SETTINGS = Map.of(
            "cluster.name", "aegis-tests",
            "discovery.type", "single-node",
            "network.host", "127.0.0.1",
            "transport.port", "0",
            // The tests are about what OpenSearch takes, not about how full the disk of this machine is.
            "cluster.routing.allocation.disk.threshold_enabled", "false");

    private Launcher() {}

    public static void main(final String[] arguments) throws Exception {
        final int port = Integer.parseInt(arguments[0]);
        endWithParent();
        final OpenSearchRunner runner = new OpenSearchRunner();
        runner.setMaxHttpPort(-1);
        runner.onBuild((number, settings) -> {
            SETTINGS.forEach(settings::put);
            settings.putList("node.roles", "cluster_manager", "data", "ingest");
            settings.put("http.port", port);
            for (int at = 2; at < arguments.length; at++) {
                set(settings, arguments[at]);
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(runner)));
        runner.build(OpenSearchRunner.newConfigs().basePath(arguments[1]).numOfNode(1));
        System.out.println("Listening on " + port);
        Thread.currentThread().join();
    }

    private static void set(final Settings.Builder settings, final String argument) {
        final int equals = argument.indexOf('=');
        settings.put(argument.substring(0, equals), argument.substring(equals + 1));
    }

    private static void endWithParent() {
        ProcessHandle.current().parent().ifPresentOrElse(
                parent -> parent.onExit().thenRun(() -> Runtime.getRuntime().halt(1)),
                () -> Runtime.getRuntime().halt(1));
    }

    private static void close(final OpenSearchRunner runner) {
        try {
            runner.close();
        } catch (final java.io.IOException error) {
            System.err.println(error);
        }
    }
}
