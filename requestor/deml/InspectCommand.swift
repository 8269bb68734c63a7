import Application
import ArgumentParser

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what is in a weights, shard, delta or predictions file.",
        discussion: "  deml inspect runs/mnist-mlp/best.safetensors")

    @Argument(help: ArgumentHelp("A safetensors file, compressed or not.", valueName: "file"))
    var file: String
    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported {
            let inspection = try Application.ofThisProcess.inspect(file)
            if json { return try Output.standard.json(inspection) }
            Output.standard.line(inspection.text(isComplete: true))
        }
    }
}
