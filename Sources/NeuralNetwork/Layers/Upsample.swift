import CKernels
import Tensors

/// An image of another size: [c, h, w] → [c, h', w'], each number the nearest of the input or a bilinear mixture of four
/// (torch's `Upsample` with `align_corners=False`). Either `size` is given or `scale_factor`: then h' = ⌊h·scale_factor⌋.
struct Upsample: LayerDefinition {
    static let type = "upsample"
    static let options = ["size", "scale_factor", "mode", "align_corners"]

    var target: Target
    var mode = Mode.nearest

    enum Target: Equatable {
        case size(Size2D)
        /// Of height and width.
        case scaleFactor(Double, Double)
    }

    enum Mode: String, CaseIterable, Encodable {
        case nearest, bilinear
    }

    func shapes(_ place: inout LayerPlace) throws(DeMLError) -> LayerShapes {
        try place.image()
        let input = place.input
        switch target {
        case .size(let size):
            guard (1...65536).contains(size.height), (1...65536).contains(size.width) else {
                throw DeMLError(.outOfRange, "size \(size) is out of range")
            }
            return LayerShapes(output: [input[0], size.height, size.width])
        case .scaleFactor(let height, let width):
            let sizes = [height * Double(input[1]), width * Double(input[2])]
            // Not above 2^16: what a float holds exactly, halves included.
            guard height > 0, width > 0, sizes.allSatisfy({ $0 >= 1 && $0 <= 65536 }) else {
                throw DeMLError(
                    .outOfRange,
                    "scale_factor [\(height), \(width)] makes no image of \(input) that has a reasonable size")
            }
            return LayerShapes(output: [input[0], Int(sizes[0]), Int(sizes[1])])
        }
    }

    func multiplyAdds(_ layer: ResolvedLayer) -> Int {
        layer.output.reduce(1, *) * (mode == .bilinear ? 4 : 1)
    }

    func preferredLayout(_ layer: ResolvedLayer) -> Layout? { .channelsLast }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let y = try network.output(layer.output, .channelsLast, of: input)
        // As torch: a factor that is given counts, even where the size was rounded.
        let scale: (Double, Double) =
            switch target {
            case .size: (Double(x.height) / Double(y.height), Double(x.width) / Double(y.width))
            case .scaleFactor(let height, let width): (1 / height, 1 / width)
            }
        network.append(
            // y[b][oh][ow][c] = a mixture of the inputs around its place. Backward: the gradient goes to them in the same
            // shares.
            ImageOperation(
                input, y,
                deml_resize2d(
                    batch: 0, height: x.height, width: x.width, channels: x.channels, out_height: y.height,
                    out_width: y.width, bilinear: mode == .bilinear, scale_height: Float(scale.0),
                    scale_width: Float(scale.1)),
                batch: \.batch, forward: deml_upsample2d_forward, backward: deml_upsample2d_backward))
        return y
    }
}

extension Upsample {
    init(_ options: StrictContainer) throws {
        try options.demand("align_corners", false)
        let size = try options.optional("size", Size2D.self)
        let factors = try options.optional("scale_factor", NumberList<Double>.self)?.values
        switch (size, factors) {
        case (let size?, nil): target = .size(size)
        case (nil, let factors?):
            guard factors.count == 1 || factors.count == 2 else {
                throw options.error(
                    .malformed, "scale_factor is one number or two, but there are \(factors.count)")
            }
            target = .scaleFactor(factors[0], factors[factors.count - 1])
        default:
            throw options.error(.usage, "upsample needs either size or scale_factor")
        }
        if let word = try options.optional("mode", String.self) {
            guard let known = Mode(rawValue: word) else {
                throw options.error(.outOfRange, "mode \(word.quotedForMessage) is neither 'nearest' nor 'bilinear'")
            }
            mode = known
        }
    }

    func encode(_ options: inout OptionEncoder) throws {
        switch target {
        case .size(let size): try options.put("size", size)
        case .scaleFactor(let height, let width):
            if height == width {
                try options.put("scale_factor", height)
            } else {
                try options.put("scale_factor", [height, width])
            }
        }
        try options.put("mode", mode, unless: .nearest)
    }
}

extension Layer {
    /// An image of another size, by the nearest numbers or, if `bilinear`, mixtures of four.
    public static func upsample(scaleFactor: Double, bilinear: Bool = false) -> Layer {
        Layer(Upsample(target: .scaleFactor(scaleFactor, scaleFactor), mode: bilinear ? .bilinear : .nearest))
    }

    /// An image of another size, by the nearest numbers or, if `bilinear`, mixtures of four.
    public static func upsample(size: Size2D, bilinear: Bool = false) -> Layer {
        Layer(Upsample(target: .size(size), mode: bilinear ? .bilinear : .nearest))
    }
}
