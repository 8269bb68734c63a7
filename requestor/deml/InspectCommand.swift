import Application
import ArgumentParser

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what is in a weights, shard, delta or predictions file, or in a model of another tool.",
        discussion: """
              deml inspect runs/mnist-mlp/best.safetensors
              deml inspect resnet.onnx
            """)

    @Argument(
        help: ArgumentHelp(
            "A safetensors file, compressed or not; .onnx, .pt2, .pt, .pth, .keras, .h5.", valueName: "file"))
    var file: String
    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported {
            let inspection = try Application.ofThisProcess.inspect(file)
            if json { return try Output.standard.json(inspection) }
            Output.standard.line(inspection.text)
            if let table = inspection.table { Output.standard.lines([""] + ModelText.lines(table)) }
        }
    }
}
