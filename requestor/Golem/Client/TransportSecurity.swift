#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What a TLS client needs of OpenSSL 3, found when the first `https` address is used.
///
/// Nearly every daemon listens on its own machine and speaks plain HTTP. For the few that stand behind a proxy with TLS,
/// the system's library is loaded at run time: a Swift one would bring and compile a BoringSSL of its own, minutes for
/// everybody who builds this, and headers would be one more package to install.
struct OpenSSL: Sendable {
    typealias Pointer = UnsafeMutableRawPointer

    /// Answers of `SSL_get_error`.
    enum Wish {
        static let toRead: Int32 = 2
        static let toWrite: Int32 = 3
        static let close: Int32 = 6
    }

    let clientMethod: @convention(c) () -> Pointer?
    let newContext: @convention(c) (Pointer?) -> Pointer?
    let freeContext: @convention(c) (Pointer?) -> Void
    let trustSystem: @convention(c) (Pointer?) -> Int32
    let setVerify: @convention(c) (Pointer?, Int32, Pointer?) -> Void
    let controlContext: @convention(c) (Pointer?, Int32, Int, Pointer?) -> Int
    let new: @convention(c) (Pointer?) -> Pointer?
    let free: @convention(c) (Pointer?) -> Void
    let connectState: @convention(c) (Pointer?) -> Void
    let control: @convention(c) (Pointer?, Int32, Int, UnsafePointer<CChar>?) -> Int
    let expectHost: @convention(c) (Pointer?, UnsafePointer<CChar>?) -> Int32
    let memory: @convention(c) () -> Pointer?
    let newBuffer: @convention(c) (Pointer?) -> Pointer?
    let setBuffers: @convention(c) (Pointer?, Pointer?, Pointer?) -> Void
    let writeBuffer: @convention(c) (Pointer?, UnsafeRawPointer?, Int32) -> Int32
    let readBuffer: @convention(c) (Pointer?, Pointer?, Int32) -> Int32
    let pending: @convention(c) (Pointer?) -> Int
    let handshake: @convention(c) (Pointer?) -> Int32
    let read: @convention(c) (Pointer?, Pointer?, Int32) -> Int32
    let write: @convention(c) (Pointer?, UnsafeRawPointer?, Int32) -> Int32
    let shutdown: @convention(c) (Pointer?) -> Int32
    let wish: @convention(c) (Pointer?, Int32) -> Int32
    let verifyResult: @convention(c) (Pointer?) -> Int
    let verifyText: @convention(c) (Int) -> UnsafePointer<CChar>?
    let nextError: @convention(c) () -> UInt
    let errorText: @convention(c) (UInt, UnsafeMutablePointer<CChar>?, Int) -> Void
    let forgetErrors: @convention(c) () -> Void

    private static let loaded = Result { try OpenSSL() }

    /// - Throws: `unsupported` where the library is missing.
    static func shared() throws -> OpenSSL { try loaded.get() }

    private init() throws {
        guard let library = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL) else {
            throw GolemError(
                .unsupported, "an https address needs OpenSSL 3, whose libssl.so.3 cannot be loaded",
                hint: "install it (apt-get install libssl3), or give an http address")
        }
        /// A function by its name; its type is that of the manual (docs.openssl.org/3.0/man3).
        func function<Function>(_ name: String) throws -> Function {
            guard let address = dlsym(library, name) else {
                throw GolemError(.unsupported, "libssl.so.3 has no function \(name)", hint: "give an http address")
            }
            return unsafeBitCast(address, to: Function.self)
        }
        clientMethod = try function("TLS_client_method")
        newContext = try function("SSL_CTX_new")
        freeContext = try function("SSL_CTX_free")
        trustSystem = try function("SSL_CTX_set_default_verify_paths")
        setVerify = try function("SSL_CTX_set_verify")
        controlContext = try function("SSL_CTX_ctrl")
        new = try function("SSL_new")
        free = try function("SSL_free")
        connectState = try function("SSL_set_connect_state")
        control = try function("SSL_ctrl")
        expectHost = try function("SSL_set1_host")
        memory = try function("BIO_s_mem")
        newBuffer = try function("BIO_new")
        setBuffers = try function("SSL_set_bio")
        writeBuffer = try function("BIO_write")
        readBuffer = try function("BIO_read")
        pending = try function("BIO_ctrl_pending")
        handshake = try function("SSL_do_handshake")
        read = try function("SSL_read")
        write = try function("SSL_write")
        shutdown = try function("SSL_shutdown")
        wish = try function("SSL_get_error")
        verifyResult = try function("SSL_get_verify_result")
        verifyText = try function("X509_verify_cert_error_string")
        nextError = try function("ERR_get_error")
        errorText = try function("ERR_error_string_n")
        forgetErrors = try function("ERR_clear_error")
    }

    /// One side of a connection, its network side being two buffers in memory.
    final class Connection {
        private let library: OpenSSL
        private let connection: Pointer
        private let incoming: Pointer
        private let outgoing: Pointer

        /// - Parameter host: name or number; it must be that of the certificate.
        init(_ library: OpenSSL, host: String) throws {
            // SSL_CTRL_SET_MIN_PROTO_VERSION, TLS 1.2; SSL_VERIFY_PEER; SSL_CTRL_SET_TLSEXT_HOSTNAME.
            let (minimum, version, verifyPeer, serverName): (Int32, Int, Int32, Int32) = (123, 0x0303, 1, 55)
            guard let context = library.newContext(library.clientMethod()) else { throw Self.outOfMemory }
            // The connection keeps the context for itself.
            defer { library.freeContext(context) }
            _ = library.controlContext(context, minimum, version, nil)
            library.setVerify(context, verifyPeer, nil)
            // The system's certificates, or those that SSL_CERT_FILE and SSL_CERT_DIR name.
            guard library.trustSystem(context) == 1, let connection = library.new(context),
                let incoming = library.newBuffer(library.memory()), let outgoing = library.newBuffer(library.memory())
            else { throw Self.outOfMemory }
            (self.library, self.connection) = (library, connection)
            (self.incoming, self.outgoing) = (incoming, outgoing)
            library.setBuffers(connection, incoming, outgoing)
            library.connectState(connection)
            let isNumber = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
            if !isNumber { _ = library.control(connection, serverName, 0, host) }
            guard library.expectHost(connection, host) == 1 else { throw Self.outOfMemory }
        }

        deinit { library.free(connection) }

        private static let outOfMemory = GolemError(.unsupported, "OpenSSL could not be set up")

        /// Takes what came over the network.
        func received(_ bytes: UnsafeRawBufferPointer) {
            var rest = bytes
            while !rest.isEmpty {
                let count = library.writeBuffer(incoming, rest.baseAddress, Int32(min(rest.count, 1 << 20)))
                guard count > 0 else { return }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(Int(count)))
            }
        }

        /// What is to go over the network.
        func toSend() -> [UInt8] {
            let count = library.pending(outgoing)
            guard count > 0 else { return [] }
            return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                filled = max(0, Int(library.readBuffer(outgoing, buffer.baseAddress, Int32(count))))
            }
        }

        /// Goes on with the handshake. - Returns: whether it is done.
        func handshake() throws -> Bool {
            library.forgetErrors()
            let result = library.handshake(connection)
            if result == 1 { return true }
            guard [Wish.toRead, Wish.toWrite].contains(library.wish(connection, result)) else { throw failure() }
            return false
        }

        enum Reading {
            case bytes([UInt8])
            case nothingYet, end
        }

        /// The next piece of what the other side says.
        func read() throws -> Reading {
            library.forgetErrors()
            var count: Int32 = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 16_384) { buffer, filled in
                count = library.read(connection, buffer.baseAddress, 16_384)
                filled = max(0, Int(count))
            }
            if count > 0 { return .bytes(bytes) }
            switch library.wish(connection, count) {
            case Wish.toRead, Wish.toWrite: return .nothingYet
            case Wish.close: return .end
            default: throw failure()
            }
        }

        /// Says something to the other side; what is to be sent for it is in ``toSend()``.
        func write(_ bytes: UnsafeRawBufferPointer) throws {
            guard !bytes.isEmpty else { return }
            library.forgetErrors()
            guard library.write(connection, bytes.baseAddress, Int32(bytes.count)) == bytes.count else {
                throw failure()
            }
        }

        func close() { _ = library.shutdown(connection) }

        private func failure() -> GolemError {
            let verified = library.verifyResult(connection)
            if verified != 0 {
                let reason = library.verifyText(verified).map { String(cString: $0) } ?? "code \(verified)"
                return GolemError(
                    .untrusted, "the certificate of the daemon's address is not trusted: \(reason)",
                    hint: "name the file of the authority that signed it in SSL_CERT_FILE, or correct the address")
            }
            var text = [CChar](repeating: 0, count: 256)
            library.errorText(library.nextError(), &text, text.count)
            let reason = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return GolemError(
                .untrusted, "no secure connection could be made: \(reason)",
                hint: "does this address speak https? If it speaks http, write http://")
        }
    }
}
