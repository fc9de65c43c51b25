// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {RosterCode} from "./RosterCode.sol";
import {IMemberRegistry, Member} from "./interfaces/IMemberRegistry.sol";

/// @title MemberRegistry
/// @dev What every function promises is written in IMemberRegistry.sol.
contract MemberRegistry is IMemberRegistry {
    /* CONSTANTS AND IMMUTABLES */

    /// @inheritdoc IMemberRegistry
    string public constant VERSION = "1.0.0";

    uint256 private constant MIN_MEMBERS = 3;
    uint256 private constant MAX_MEMBERS = 64;
    uint256 private constant MAX_SPEC_BYTES = 16_384;
    uint256 private constant MAX_NAME_BYTES = 64;
    uint256 private constant MAX_PEER_ID_BYTES = 128;
    uint256 private constant MAX_NET_ADDRESS_BYTES = 255;

    /// @inheritdoc IMemberRegistry
    address public immutable ledger;

    /// @inheritdoc IMemberRegistry
    address public immutable vault;

    /* STORAGE */

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

    /* CONSTRUCTOR */

    /// @param members The first roster; a member's place in it is its roster index.
    /// @param spec Canonical JSON of the task.
    /// @param ledger_ Where this deployment's RoundLedger will be.
    /// @param vault_ Where this deployment's RewardVault will be.
    constructor(Member[] memory members, bytes memory spec, address ledger_, address vault_) {
        uint256 count = members.length;
        if (count < MIN_MEMBERS || count > MAX_MEMBERS) revert MemberCountOutOfRange(count);
        if (spec.length == 0 || spec.length > MAX_SPEC_BYTES) revert SpecLengthOutOfRange(spec.length);
        if (ledger_ == address(0) || vault_ == address(0) || ledger_ == vault_) {
            revert InvalidContracts(ledger_, vault_);
        }
        ledger = ledger_;
        vault = vault_;

        for (uint256 index; index < count; ++index) {
            _checkEntry(members, index);
            _admit(index, members[index]);
        }
        specDigest = keccak256(spec);
        emit SpecAdopted(specDigest, spec);
        _adoptRoster(1, members);
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
    function accountAt(uint256 index) external view returns (address) {
        _checkIndex(index);
        return _members[index].account;
    }

    /// @inheritdoc IMemberRegistry
    function signerAt(uint256 index) external view returns (address) {
        _checkIndex(index);
        return _members[index].signer;
    }

    /// @inheritdoc IMemberRegistry
    function quorum() external view returns (uint256) {
        return _quorum;
    }

    /// @inheritdoc IMemberRegistry
    function configDigest() external view returns (bytes32) {
        return rosterCode.codehash;
    }

    /* INTERNAL */

    function _checkIndex(uint256 index) private view {
        if (index >= _memberCount) revert UnknownMember(index);
    }

    /// @dev Compares with the entries before it: 64 members make 2016 pairs, cheaper than four mappings.
    function _checkEntry(Member[] memory members, uint256 index) private pure {
        Member memory entry = members[index];
        if (entry.account == address(0)) revert ZeroAccount(index);
        if (entry.signer == address(0)) revert ZeroSigner(index);
        uint256 length = bytes(entry.name).length;
        if (length == 0 || length > MAX_NAME_BYTES) revert NameLengthOutOfRange(index, length);
        length = entry.peerId.length;
        if (length == 0 || length > MAX_PEER_ID_BYTES) revert PeerIdLengthOutOfRange(index, length);
        length = bytes(entry.netAddress).length;
        if (length == 0 || length > MAX_NET_ADDRESS_BYTES) revert NetAddressLengthOutOfRange(index, length);

        bytes32 nameHash = keccak256(bytes(entry.name));
        bytes32 peerIdHash = keccak256(entry.peerId);
        for (uint256 earlier; earlier < index; ++earlier) {
            Member memory other = members[earlier];
            if (other.account == entry.account) revert DuplicateAccount(index, entry.account);
            if (other.signer == entry.signer) revert DuplicateSigner(index, entry.signer);
            if (keccak256(bytes(other.name)) == nameHash) revert DuplicateName(index, entry.name);
            if (keccak256(other.peerId) == peerIdHash) revert DuplicatePeerId(index, entry.peerId);
        }
    }

    function _admit(uint256 index, Member memory entry) private {
        _members[index] = entry;
        emit MemberAdmitted(index, entry.account, entry.signer, entry.name, entry.peerId, entry.netAddress);
    }

    function _adoptRoster(uint64 version, Member[] memory members) private {
        uint256 count = members.length;
        uint256 active = (1 << count) - 1;
        uint256 needed = (2 * count) / 3 + 1;
        address[] memory signers = new address[](count);
        for (uint256 index; index < count; ++index) signers[index] = members[index].signer;
        bytes memory data = abi.encode(block.chainid, address(this), version, signers, needed, specDigest);

        rosterCode = address(new RosterCode(data));
        rosterVersion = version;
        _memberCount = uint16(count);
        _quorum = uint16(needed);
        activeBitmap = active;
        emit RosterChanged(version, keccak256(data), active, needed);
    }
}
