import CKernels
import Tensors

/// `value` around an image, [c, h, w] → [c, top + h + bottom, left + w + right], or around a sequence, [c, l] →
/// [c, left + l + right]. `padding` is one number for all sides, or [left, right, top, bottom] ([left, right] of a
/// sequence): the order of torch's `ZeroPad2d`, `ConstantPad2d` and `ConstantPad1d`.
struct Pad: LayerDefinition {
    static let type = "pad"
    static let options = ["padding", "value", "mode"]

    var padding: [Int]
    var value = 0.0

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        let input = place.input
        guard input.count == 2 || input.count == 3 else {
            throw DeMLError(
                .shape,
                "pad needs an input of shape [channels, length] or [channels, height, width], but it is \(input)")
        }
        guard padding.count == 1 || padding.count == 2 * (input.count - 1) else {
            throw DeMLError(
                .shape, "padding \(padding) has \(padding.count) numbers for the input shape \(input)",
                hint: "one number, or \(input.count == 3 ? "[left, right, top, bottom]" : "[left, right]")")
        }
        guard padding.allSatisfy({ (0..<1 << 16).contains($0) }) else {
            throw DeMLError(.outOfRange, "padding \(padding) is out of range")
        }
        guard Float(value).isFinite else { throw DeMLError(.outOfRange, "value \(value) is not finite") }
        let sides = sides
        return LayerShapes(
            output: input.count == 2
                ? [input[0], sides[0] + input[1] + sides[1]]
                : [input[0], sides[2] + input[1] + sides[3], sides[0] + input[2] + sides[1]])
    }

    /// Left, right, top, bottom, where the input has those.
    private var sides: [Int] { padding.count == 1 ? [Int](repeating: padding[0], count: 4) : padding }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let y = try network.output(layer.output, .channelsLast, of: input)
        let sides = sides
        let isImage = input.shape.count == 3
        network.append(
            // y[b][oh][ow][c] = x within, `value` around it. Backward: the gradient within.
            ImageOperation(
                input, y,
                deml_pad2d(
                    batch: 0, height: isImage ? input.height : 1, width: isImage ? input.width : input.pixels,
                    channels: input.channels, top: isImage ? sides[2] : 0, bottom: isImage ? sides[3] : 0,
                    left: sides[0], right: sides[1], value: Float(value)),
                batch: \.batch, forward: deml_pad2d_forward, backward: deml_pad2d_backward))
        return y
    }
}

extension Pad {
    init(_ options: StrictContainer) throws {
        try options.demand("mode", "constant")
        padding = try options.required("padding", NumberList<Int>.self).values
        value = try options.optional("value", Double.self) ?? 0
    }

    func encode(_ options: inout OptionEncoder) throws {
        try options.put("padding", padding)
        try options.put("value", value, unless: 0)
    }
}

extension Layer {
    /// `value` around an image or a sequence; `padding` is one number for all sides, or [left, right, top, bottom]
    /// ([left, right] of a sequence).
    public static func pad(_ padding: [Int], value: Double = 0) -> Layer { Layer(Pad(padding: padding, value: value)) }
}
