import Application
import ArgumentParser

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what is in a weights, shard, delta or predictions file, or in a model of another tool.",
        discussion: """
              deml inspect runs/mnist-mlp/best.safetensors
              deml inspect resnet.onnx
              deml inspect detector.onnx --input-shape 3,480,640
            """)

    @Argument(
        help: ArgumentHelp(
            "A safetensors file, compressed or not; .onnx, .pt2, .pt, .pth, .keras, .h5.", valueName: "file"))
    var file: String
    @Option(
        help: ArgumentHelp(
            "An example's sizes, where a model of another tool leaves some open: 3,224,224, in the file's order.",
            valueName: "sizes"))
    var inputShape: InputShapeArgument?
    @Flag(help: "Print one line of JSON.")
    var json = false

    func run() throws {
        try CommandErrors.reported {
            let inspection = try Application.ofThisProcess.inspect(file, inputShape: inputShape?.sizes)
            if json { return try Output.standard.json(inspection) }
            Output.standard.line(inspection.text)
            if let table = inspection.table { Output.standard.lines([""] + ModelText.lines(table)) }
        }
    }
}
