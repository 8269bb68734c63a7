import Application
import ArgumentParser
import CommandLineSupport
import Foundation
import Reports

struct ShardCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard",
        abstract: "Divide a dataset into shard files, as a run does by itself.",
        discussion: "  deml shard mnist --parts 100 --partition pathological:2 --output shards")

    @Argument(
        help: ArgumentHelp("A table, a folder of IDX files, .npz, .npy, safetensors, or 'mnist'.", valueName: "data"))
    var data: String
    @Option(help: ArgumentHelp("Number of shards. (by_column and by_file: as many as the data has)", valueName: "n"))
    var parts: Int?
    @Option(
        help: ArgumentHelp(
            "iid, dirichlet:0.3, pathological:2 (pieces of the sorted data a shard), quantity:0.5, by_column:NAME, by_file.",
            valueName: "rule"))
    var partition = "iid"
    @Option(
        name: [.long, .customShort("o")],
        help: ArgumentHelp("Folder for the shards, made if needed.", valueName: "folder"))
    var output: String
    @Option(help: ArgumentHelp("Seed: same seed, same shards.", valueName: "n"))
    var seed: UInt64 = 0
    @OptionGroup(title: "How a table is read")
    var table: TableOptions
    @Option(
        help: ArgumentHelp("Part of the examples to test with, where the data has no test set.", valueName: "share"))
    var testFraction = 0.2
    @Flag(help: "Print shards.json as one line.")
    var json = false

    func run() throws {
        try CommandErrors.reported { try shard() }
    }

    private func shard() throws {
        let application = Application.ofThisProcess
        var request = DataRequest(data: data, testFraction: testFraction)
        table.set(&request)
        let answer = try application.shard(
            ShardRequest(data: request, parts: parts, partition: partition, output: output, seed: seed))
        let shards = answer.shards
        let errors = Terminal.current(of: STDERR_FILENO)
        Output.standardError.lines(DecisionText.lines(answer.decisions, paint: Paint(errors.hasColour)))
        if json { return try Output.standard.json(shards) }

        let terminal = Terminal.current()
        let paint = Paint(terminal.hasColour)
        let bytes = shards.shards.reduce(0) { $0 + $1.bytes }
        var lines: [String] = []
        if let labels = shards.labels {
            let names = (0..<labels.classes).map { labels.name(ofClass: $0) }
            lines += RunText.labelDistribution(labels.counts, classes: names, paint: paint, width: terminal.columns)
        } else {
            lines += shards.shards.prefix(20).map { "  \($0.file)  \(Figures.grouped($0.examples)) examples" }
        }
        lines += [
            "",
            "\(RunText.counted(shards.shards.count, "shard")) of \(answer.dataset), \(answer.partition), \(Figures.bytes(bytes)) "
                + "in \(application.paths.shown(answer.folder))",
        ]
        Output.standard.lines(lines)
    }
}
