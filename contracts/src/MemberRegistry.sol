// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {RosterCode} from "./RosterCode.sol";
import {Rosters} from "./Rosters.sol";
import {IMemberRegistry, Member} from "./interfaces/IMemberRegistry.sol";

/// @title MemberRegistry
/// @dev What every function promises is written in IMemberRegistry.sol.
contract MemberRegistry is IMemberRegistry, EIP712 {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IMemberRegistry
    string public constant VERSION = "2.0.0";

    /// @inheritdoc IMemberRegistry
    uint64 public constant ROTATION_PERIOD_SECONDS = 1 days;

    /// @inheritdoc IMemberRegistry
    uint64 public constant SPEC_DELAY_SECONDS = 1 days;

    bytes32 private constant ADMISSION = keccak256(
        "Admission(bytes32 config,address account,address signer,string name,bytes peerId,string netAddress)"
    );
    bytes32 private constant REMOVAL = keccak256("Removal(bytes32 config,uint256 index,bytes32 evidence)");
    bytes32 private constant ROTATION = keccak256(
        "Rotation(bytes32 config,uint256 index,address account,address signer,bytes peerId,string netAddress)"
    );
    bytes32 private constant EXIT = keccak256("Exit(bytes32 config,uint256 index)");
    bytes32 private constant SPEC_CHANGE =
        keccak256("SpecChange(bytes32 config,uint64 number,bytes32 specDigest)");
    bytes32 private constant SUCCESSION = keccak256("Succession(bytes32 config,address successor)");

    uint256 private constant MIN_MEMBERS = 3;
    uint256 private constant MAX_MEMBERS = 64;
    uint256 private constant MAX_INDICES = 256;
    uint256 private constant MAX_SPEC_BYTES = 16_384;
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant MAX_PEER_ID_BYTES = 128;
    uint256 private constant MAX_NET_ADDRESS_BYTES = 255;

    /// @dev Sets of ASCII characters, a bit for each code: 0-9, A-Z and a-z; and 0x21 to 0x7e.
    uint256 private constant ALPHANUMERIC = 0x07fffffe07fffffe03ff000000000000;
    uint256 private constant VISIBLE = 0x7ffffffffffffffffffffffe00000000;

    /// @inheritdoc IMemberRegistry
    address public immutable ledger;

    /// @inheritdoc IMemberRegistry
    address public immutable vault;

    /// @inheritdoc IMemberRegistry
    address public immutable disputes;

    /* STORAGE */

    struct Roster {
        address code;
        uint64 version;
    }

    /// @inheritdoc IMemberRegistry
    address public rosterCode;

    /// @inheritdoc IMemberRegistry
    uint64 public rosterVersion;

    uint16 private _memberCount;
    uint16 private _quorum;

    /// @inheritdoc IMemberRegistry
    uint256 public activeBitmap;

    /// @inheritdoc IMemberRegistry
    bytes32 public specDigest;

    mapping(uint256 index => Member) private _members;

    mapping(bytes32 config => Roster) private _rosters;

    /// @inheritdoc IMemberRegistry
    mapping(uint256 index => uint64) public rotatedAt;

    /// @inheritdoc IMemberRegistry
    bytes32 public proposedSpec;

    /// @inheritdoc IMemberRegistry
    uint64 public adoptableAt;

    /// @inheritdoc IMemberRegistry
    uint64 public specProposals;

    /// @inheritdoc IMemberRegistry
    address public successor;

    /* CONSTRUCTOR */

    /// @param members The first roster; a member's place in it is its roster index.
    /// @param spec Canonical JSON of the task.
    /// @param ledger_ Where this deployment's RoundLedger will be.
    /// @param vault_ Where this deployment's RewardVault will be.
    /// @param disputes_ Where this deployment's Disputes will be.
    constructor(Member[] memory members, bytes memory spec, address ledger_, address vault_, address disputes_)
        EIP712("Mycelia", "1")
    {
        uint256 count = members.length;
        _checkSpec(spec.length);
        bool named = ledger_ != address(0) && vault_ != address(0) && disputes_ != address(0);
        if (!named || ledger_ == vault_ || ledger_ == disputes_ || vault_ == disputes_) {
            revert InvalidContracts(ledger_, vault_, disputes_);
        }
        ledger = ledger_;
        vault = vault_;
        disputes = disputes_;

        address[] memory signers = new address[](count);
        for (uint256 index; index < count; ++index) {
            _checkEntry(index, members[index]);
            for (uint256 earlier; earlier < index; ++earlier) _checkDistinct(index, members[index], members[earlier]);
            _writeEntry(index, members[index]);
            signers[index] = members[index].signer;
        }
        specDigest = keccak256(spec);
        emit SpecAdopted(specDigest, spec);
        _adoptRoster(signers);
    }

    /* ACTIONS OF A QUORUM */

    /// @inheritdoc IMemberRegistry
    function admit(Member calldata entry, uint256 signers, bytes calldata signatures) external {
        bytes32 fields = keccak256(
            abi.encode(
                ADMISSION,
                configDigest(),
                entry.account,
                entry.signer,
                keccak256(bytes(entry.name)),
                keccak256(entry.peerId),
                keccak256(bytes(entry.netAddress))
            )
        );
        address[] memory keys = _approve(fields, signers, signatures);
        uint256 index = _memberCount;
        if (index >= MAX_INDICES) revert IndicesExhausted();
        _checkNew(index, entry);
        _writeEntry(index, entry);
        _adoptRoster(_extended(keys, entry.signer));
    }

    /// @inheritdoc IMemberRegistry
    function remove(uint256 index, bytes32 evidence, uint256 signers, bytes calldata signatures) external {
        bytes32 fields = keccak256(abi.encode(REMOVAL, configDigest(), index, evidence));
        address[] memory keys = _approve(fields, signers, signatures);
        _checkActive(index);
        emit MemberRemoved(index, evidence);
        keys[index] = address(0);
        _adoptRoster(keys);
    }

    /// @inheritdoc IMemberRegistry
    function proposeSpec(bytes calldata spec, uint256 signers, bytes calldata signatures) external {
        bytes32 digest = keccak256(spec);
        uint64 number = specProposals;
        _approve(keccak256(abi.encode(SPEC_CHANGE, configDigest(), number, digest)), signers, signatures);
        _checkSpec(spec.length);
        proposedSpec = digest;
        adoptableAt = uint64(block.timestamp) + SPEC_DELAY_SECONDS;
        specProposals = number + 1;
        emit SpecProposed(number, digest, adoptableAt, spec);
    }

    /// @inheritdoc IMemberRegistry
    function nameSuccessor(address successor_, uint256 signers, bytes calldata signatures) external {
        _approve(keccak256(abi.encode(SUCCESSION, configDigest(), successor_)), signers, signatures);
        if (successor != address(0)) revert SuccessorNamedAlready(successor);
        if (successor_.code.length == 0 || successor_ == address(this)) revert InvalidSuccessor(successor_);
        successor = successor_;
        emit SuccessorNamed(successor_);
    }

    /* ACTIONS OF A MEMBER */

    /// @inheritdoc IMemberRegistry
    function rotate(
        uint256 index,
        address account,
        address signer,
        bytes calldata peerId,
        string calldata netAddress,
        bytes calldata signature
    ) external {
        _checkActive(index);
        bytes32 fields = keccak256(
            abi.encode(
                ROTATION, configDigest(), index, account, signer, keccak256(peerId), keccak256(bytes(netAddress))
            )
        );
        _authorise(index, fields, signature);
        uint256 allowedAt = rotatedAt[index] + ROTATION_PERIOD_SECONDS;
        if (block.timestamp < allowedAt) revert RotatedTooRecently(index, allowedAt);
        _checkNew(index, Member(account, signer, _members[index].name, peerId, netAddress));

        rotatedAt[index] = uint64(block.timestamp);
        Member storage entry = _members[index];
        (entry.account, entry.signer, entry.peerId, entry.netAddress) = (account, signer, peerId, netAddress);
        emit MemberRotated(index, account, signer, peerId, netAddress);
        (address[] memory keys,) = Rosters.read(rosterCode);
        keys[index] = signer;
        _adoptRoster(keys);
    }

    /// @inheritdoc IMemberRegistry
    function leaveRoster(uint256 index, bytes calldata signature) external {
        _checkActive(index);
        _authorise(index, keccak256(abi.encode(EXIT, configDigest(), index)), signature);
        emit MemberLeft(index);
        (address[] memory keys,) = Rosters.read(rosterCode);
        keys[index] = address(0);
        _adoptRoster(keys);
    }

    /* ACTIONS OF ANYONE */

    /// @inheritdoc IMemberRegistry
    function adoptSpec(bytes calldata spec) external {
        bytes32 digest = keccak256(spec);
        if (digest != proposedSpec) revert SpecNotProposed(proposedSpec, digest);
        if (block.timestamp < adoptableAt) revert SpecDelayNotOver(adoptableAt);
        delete proposedSpec;
        specDigest = digest;
        emit SpecAdopted(digest, spec);
        (address[] memory keys,) = Rosters.read(rosterCode);
        _adoptRoster(keys);
    }

    /* VIEWS */

    /// @inheritdoc IMemberRegistry
    function memberCount() external view returns (uint256) {
        return _memberCount;
    }

    /// @inheritdoc IMemberRegistry
    function member(uint256 index) external view returns (Member memory) {
        _checkIndex(index);
        return _members[index];
    }

    /// @inheritdoc IMemberRegistry
    function accountAt(uint256 index) external view returns (address account) {
        account = _members[index].account;
        // No entry has the zero address, and this spares every claim one read.
        if (account == address(0)) revert UnknownMember(index);
    }

    /// @inheritdoc IMemberRegistry
    function signerAt(uint256 index) external view returns (address) {
        _checkIndex(index);
        return _members[index].signer;
    }

    /// @inheritdoc IMemberRegistry
    function isActive(uint256 index) public view returns (bool) {
        return (activeBitmap >> index) & 1 == 1;
    }

    /// @inheritdoc IMemberRegistry
    function quorum() external view returns (uint256) {
        return _quorum;
    }

    /// @inheritdoc IMemberRegistry
    function configDigest() public view returns (bytes32) {
        return rosterCode.codehash;
    }

    /// @inheritdoc IMemberRegistry
    function rosterOf(bytes32 config) external view returns (address code, uint64 version) {
        Roster storage roster = _rosters[config];
        return (roster.code, roster.version);
    }

    /// @inheritdoc IMemberRegistry
    function domainSeparator() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /* INTERNAL: CHECKS */

    function _checkIndex(uint256 index) private view {
        if (index >= _memberCount) revert UnknownMember(index);
    }

    function _checkActive(uint256 index) private view {
        _checkIndex(index);
        if (!isActive(index)) revert MemberNotActive(index);
    }

    function _checkSpec(uint256 length) private pure {
        if (length == 0 || length > MAX_SPEC_BYTES) revert SpecLengthOutOfRange(length);
    }

    function _checkEntry(uint256 index, Member memory entry) private pure {
        if (entry.account == address(0)) revert ZeroAccount(index);
        if (entry.signer == address(0)) revert ZeroSigner(index);
        uint256 length = bytes(entry.name).length;
        if (length == 0 || length > MAX_NAME_BYTES) revert NameLengthOutOfRange(index, length);
        length = entry.peerId.length;
        if (length == 0 || length > MAX_PEER_ID_BYTES) revert PeerIdLengthOutOfRange(index, length);
        length = bytes(entry.netAddress).length;
        if (length == 0 || length > MAX_NET_ADDRESS_BYTES) revert NetAddressLengthOutOfRange(index, length);
        if (!_isMadeOf(ALPHANUMERIC, entry.peerId)) revert PeerIdNotAlphanumeric(index);
        if (!_isMadeOf(VISIBLE, bytes(entry.netAddress))) revert NetAddressNotPrintable(index);
    }

    /// @dev A member changes both alone: bytes that others cannot read as text would keep all of them from reading on.
    function _isMadeOf(uint256 characters, bytes memory text) private pure returns (bool) {
        for (uint256 place; place < text.length; ++place) {
            if ((characters >> uint8(text[place])) & 1 == 0) return false;
        }
        return true;
    }

    function _checkDistinct(uint256 index, Member memory entry, Member memory other) private pure {
        if (other.account == entry.account) revert DuplicateAccount(index, entry.account);
        if (other.signer == entry.signer) revert DuplicateSigner(index, entry.signer);
        if (keccak256(bytes(other.name)) == keccak256(bytes(entry.name))) revert DuplicateName(index, entry.name);
        if (keccak256(other.peerId) == keccak256(entry.peerId)) revert DuplicatePeerId(index, entry.peerId);
    }

    /// @dev Reads every active entry: a change is rare, and four more mappings would cost each member's admission more.
    function _checkNew(uint256 index, Member memory entry) private view {
        _checkEntry(index, entry);
        for (uint256 other; other < _memberCount; ++other) {
            if (other != index && isActive(other)) _checkDistinct(index, entry, _members[other]);
        }
    }

    function _approve(bytes32 fields, uint256 signers, bytes calldata signatures)
        private
        returns (address[] memory keys)
    {
        uint256 needed;
        (keys, needed) = Rosters.read(rosterCode);
        Rosters.requireQuorum(_hashTypedDataV4(fields), signers, signatures, keys, needed);
        emit Approved(configDigest(), fields, signers, signatures);
    }

    function _authorise(uint256 index, bytes32 fields, bytes calldata signature) private {
        address account = _members[index].account;
        // Also where the account itself sends it: a sender is nothing that an event could prove to who believes nobody.
        bool signed = signature.length == Rosters.SIGNATURE_BYTES
            && Rosters.recover(_hashTypedDataV4(fields), signature) == account;
        if (!signed) revert NotTheAccount(index, account);
        emit Authorised(configDigest(), index, fields, signature);
    }

    /* INTERNAL: WRITES */

    function _writeEntry(uint256 index, Member memory entry) private {
        _members[index] = entry;
        emit MemberAdmitted(index, entry.account, entry.signer, entry.name, entry.peerId, entry.netAddress);
    }

    function _extended(address[] memory keys, address signer) private pure returns (address[] memory longer) {
        longer = new address[](keys.length + 1);
        for (uint256 index; index < keys.length; ++index) longer[index] = keys[index];
        longer[keys.length] = signer;
    }

    function _adoptRoster(address[] memory signers) private {
        uint256 active = Rosters.active(signers);
        uint256 count = Rosters.countBits(active);
        if (count < MIN_MEMBERS || count > MAX_MEMBERS) revert MemberCountOutOfRange(count);
        uint256 needed = (2 * count) / 3 + 1;
        uint64 version = rosterVersion + 1;
        bytes memory data = abi.encode(block.chainid, address(this), version, signers, needed, specDigest);
        bytes32 config = keccak256(data);

        address code = address(new RosterCode(data));
        rosterCode = code;
        rosterVersion = version;
        _memberCount = uint16(signers.length);
        _quorum = uint16(needed);
        activeBitmap = active;
        _rosters[config] = Roster(code, version);
        emit RosterChanged(version, config, active, needed);
    }
}
